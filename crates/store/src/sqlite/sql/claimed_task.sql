-- A ready task with how it stands, in the columns of task.sql, and whether it is in `waiting`.
SELECT t.seq, t.tag, t.lane, t.rev, t.prank, t.created, t.run_at, t.timeout, t.max_retries, t.retry_delay, t.label,
  t.schedule, t.parent, t.retry_of, t.payload,
  0, coalesce(w.run_at, t.run_at), coalesce(w.attempts, 0), coalesce(w.retries, 0), coalesce(w.losses, 0), w.started,
  NULL, coalesce(w.updated, t.created), coalesce(w.percent, 0), coalesce(w.msg, ''), NULL, w.runner,
  coalesce(w.log_size, 0), 0, t.trace, w.seq IS NOT NULL
FROM task_d{day} t
LEFT JOIN waiting w ON w.seq = t.seq
WHERE t.seq = ?1
