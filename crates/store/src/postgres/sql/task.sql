-- Tasks with how they stand; the columns are those of the twin up to 29, then the numbers and names of clusters. At most
-- one of the three tables that say so has a task's key; none: it waits for its first run.
SELECT t.seq, t.tag, t.code, t.rev, t.prank, t.created, t.run_at, t.timeout, t.max_retries, t.retry_delay, t.label,
  t.schedule, t.parent, t.retry_of, t.payload,
  coalesce(d.status, CASE WHEN r.seq IS NULL THEN 0 ELSE 2 END)::int2,
  coalesce(d.run_at, r.run_at, w.run_at, t.run_at),
  coalesce(d.attempts, r.attempts, w.attempts, 0),
  coalesce(d.retries, r.retries, w.retries, 0),
  coalesce(d.losses, r.losses, w.losses, 0),
  coalesce(d.started, r.started, w.started),
  d.ended,
  coalesce(d.ended, r.updated, w.updated, t.created),
  coalesce(d.percent, r.percent, w.percent, 0::int2),
  coalesce(d.msg, r.msg, w.msg, ''),
  d.error_class,
  coalesce(d.runner, r.runner, w.runner),
  coalesce(d.log_size, r.log_size, w.log_size, 0),
  coalesce(r.cancel_requested, false),
  t.trace, t.cluster, (SELECT name FROM cluster c WHERE c.num = t.cluster)
FROM unnest($1::int8[]) WITH ORDINALITY AS k(seq, at)
JOIN task_d{day} t ON t.seq = k.seq
LEFT JOIN done_d{day} d ON d.seq = t.seq
LEFT JOIN running r ON r.seq = t.seq
LEFT JOIN waiting w ON w.seq = t.seq
ORDER BY k.at
