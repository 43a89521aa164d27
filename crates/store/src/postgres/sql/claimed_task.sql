-- Tasks that were ready with how they stand, in the columns of task.sql, and whether they are in `waiting`.
SELECT t.seq, t.tag, t.code, t.rev, t.prank, t.created, t.run_at, t.timeout, t.max_retries, t.retry_delay, t.label,
  t.schedule, t.parent, t.retry_of, t.payload,
  0::int2, coalesce(w.run_at, t.run_at), coalesce(w.attempts, 0), coalesce(w.retries, 0), coalesce(w.losses, 0),
  w.started, NULL::int8, coalesce(w.updated, t.created), coalesce(w.percent, 0::int2), coalesce(w.msg, ''), NULL::text,
  w.runner, coalesce(w.log_size, 0), false, t.trace, t.cluster, (SELECT name FROM cluster c WHERE c.num = t.cluster),
  w.seq IS NOT NULL
FROM unnest($1::int8[]) AS k(seq)
JOIN task_d{day} t ON t.seq = k.seq
LEFT JOIN waiting w ON w.seq = t.seq
