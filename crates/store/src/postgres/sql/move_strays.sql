-- Moves up to $3 keys of a package from $4 on to the lane of the cluster that they belong to, which is there: out of shared
-- ones if it has its own, and out of those for another level of isolation. Says how many, and the last.
WITH strays AS MATERIALIZED (
  SELECT r.lane, r.prank, r.seq FROM ready r JOIN lane l ON l.id = r.lane JOIN code k ON k.num = r.code
  WHERE r.code = $2 AND r.seq >= $4 AND l.cluster = $1 AND ((l.code = 0 AND k.has_own_lane) OR l.needs <> k.needs)
  ORDER BY r.seq LIMIT $3 FOR UPDATE OF r SKIP LOCKED),
gone AS (
  DELETE FROM ready r USING strays s WHERE r.lane = s.lane AND r.prank = s.prank AND r.seq = s.seq
  RETURNING r.prank, r.seq),
moved AS (
  INSERT INTO ready(lane, prank, seq, code) SELECT lane_for($1, $2), prank, seq, $2 FROM gone)
SELECT count(*), max(seq) FROM gone
