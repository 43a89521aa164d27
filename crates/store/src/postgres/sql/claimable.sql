-- Tasks of the cluster ($1) that could be claimed, up to $2: all that are ready, but of no paused package, and of one with
-- a limit as many as it leaves room for beside those that run. Reads every ready key of the cluster, which only those do
-- who ask how large it should be.
SELECT least($2, coalesce(sum(least(n.ready, greatest(coalesce(s.cap - (
    SELECT count(*) FROM running u WHERE u.code = n.code), n.ready), 0))), 0))::int8
FROM (SELECT r.code, count(*) AS ready FROM lane l JOIN ready r ON r.lane = l.id WHERE l.cluster = $1 GROUP BY r.code) n
  JOIN code k ON k.num = n.code AND NOT k.is_paused
  LEFT JOIN slot s ON s.code = n.code
