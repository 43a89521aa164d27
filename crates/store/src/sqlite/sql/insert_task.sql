-- What a task asks for: written once, never changed.
INSERT INTO task_d{day}(seq, tag, lane, rev, prank, created, run_at, timeout, max_retries, retry_delay, label, schedule,
  parent, retry_of, payload, trace)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
