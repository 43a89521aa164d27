-- Makes delayed tasks that are due claimable; says for which clusters and levels, and how many tasks.
WITH due AS MATERIALIZED (
  SELECT run_at, seq FROM delayed WHERE run_at <= $1 ORDER BY run_at, seq LIMIT $2 FOR UPDATE SKIP LOCKED),
gone AS (
  DELETE FROM delayed d USING due WHERE d.run_at = due.run_at AND d.seq = due.seq
  RETURNING d.seq, d.code, d.cluster, d.prank),
placed AS (
  INSERT INTO ready(lane, prank, seq, code)
  SELECT lane_for(i.cluster, i.code), i.prank, i.seq, i.code
  FROM gone i)
SELECT (SELECT name FROM cluster c WHERE c.num = g.cluster), k.needs, count(*)
FROM gone g JOIN code k ON k.num = g.code GROUP BY g.cluster, k.needs
