-- A runner holds the task under a new fence.
INSERT INTO running(seq, run_at, attempts, retries, losses, started, updated, percent, msg, runner, log_size,
  cancel_requested, fence, tag, lane, prank, max_retries, retry_delay, schedule)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
