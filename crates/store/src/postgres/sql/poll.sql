-- Which of these clusters have a claimable task, by the isolation that it needs; and, in a row without a cluster, when the
-- next task, schedule or lease is due.
SELECT DISTINCT c.name, l.needs, NULL::int8
FROM cluster c JOIN lane l ON l.cluster = c.num
WHERE c.name = ANY($1) AND EXISTS (SELECT 1 FROM ready r WHERE r.lane = l.id)
  AND (l.code = 0 OR (NOT EXISTS (SELECT 1 FROM code k WHERE k.num = l.code AND k.is_paused)
    AND NOT EXISTS (SELECT 1 FROM slot s WHERE s.code = l.code AND s.running >= s.cap)))
UNION ALL
SELECT NULL, NULL, least((SELECT min(run_at) FROM delayed), (SELECT min(next_at) FROM schedule),
  (SELECT min(lease_until) FROM session WHERE gone_at IS NULL))
