-- Ended attempts of a task, first first; the last of an ended task is in its `done` row. With $2, that one only.
SELECT a.n, a.runner, a.started, a.ended, a.log_size, a.fence, a.outcome, a.msg, a.wall, a.usr, a.sys, a.peak,
  (SELECT i.data FROM isolation i WHERE i.id = a.isolation), a.log
FROM attempt_d{day} a
WHERE a.seq = $1 AND ($2::int4 IS NULL OR a.n = $2)
UNION ALL
SELECT d.attempts, d.runner, d.started, d.ended, d.log_size, d.fence, d.outcome, coalesce(d.attempt_msg, d.msg), d.wall,
  d.usr, d.sys, d.peak, (SELECT i.data FROM isolation i WHERE i.id = d.isolation), d.log
FROM done_d{day} d
WHERE d.seq = $1 AND d.outcome IS NOT NULL AND ($2::int4 IS NULL OR d.attempts = $2)
ORDER BY 1
