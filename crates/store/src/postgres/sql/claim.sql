-- Takes up to $2 keys of the cluster's lanes that need no more isolation than $3, highest priority first, oldest first
-- among equals, and the slots that they need. What another transaction has its hands on is left out.
--
-- Lanes of their own are looked at if their package may start: it is not paused, and has no limit or room below it. A
-- lane may still have keys of a package that belong to another one by now; they and what comes after them are not taken,
-- but the package and its first key are told of (`is_stray`), for the caller to move them and come back.
--
-- How a lane is looked at is claim_whole.sql, or claim_above.sql while that is slow.
WITH rooms AS MATERIALIZED (
  SELECT s.code, s.cap - s.running AS room FROM slot s
  WHERE s.running < s.cap AND EXISTS (
    SELECT 1 FROM lane l JOIN ready r ON r.lane = l.id WHERE l.cluster = $1 AND l.needs <= $3 AND l.code = s.code)
  ORDER BY s.code FOR UPDATE SKIP LOCKED),
open AS MATERIALIZED (
  SELECT l.id, 0 AS code, l.needs, $2::int8 AS room FROM lane l WHERE l.cluster = $1 AND l.needs <= $3 AND l.code = 0
  UNION ALL
  SELECT l.id, l.code, l.needs, coalesce(o.room, $2::int8)
  FROM lane l JOIN code k ON k.num = l.code LEFT JOIN rooms o ON o.code = l.code
  WHERE l.cluster = $1 AND l.needs <= $3 AND l.code > 0 AND NOT k.is_paused
    AND (o.code IS NOT NULL OR NOT EXISTS (SELECT 1 FROM slot s WHERE s.code = l.code))),
heads AS MATERIALIZED (
  SELECT r.lane, r.prank, r.seq, r.code, o.code AS own, o.needs, o.room
  FROM open o CROSS JOIN LATERAL (
    {look}) r),
seen AS MATERIALIZED (
  SELECT h.*, (SELECT (h.own = 0 AND k.has_own_lane) OR h.needs < k.needs FROM code k WHERE k.num = h.code) AS is_stray,
    CASE WHEN h.own = 0 THEN 1 ELSE row_number() OVER (PARTITION BY h.own ORDER BY h.prank, h.seq) END AS nth
  FROM heads h),
first AS MATERIALIZED (SELECT prank, seq FROM seen WHERE is_stray ORDER BY prank, seq LIMIT 1),
taken AS MATERIALIZED (
  SELECT s.lane, s.prank, s.seq, s.code, s.own
  FROM seen s WHERE s.nth <= s.room AND NOT EXISTS (SELECT 1 FROM first f WHERE (s.prank, s.seq) >= (f.prank, f.seq))
  ORDER BY s.prank, s.seq LIMIT $2),
gone AS (
  DELETE FROM ready r USING taken t WHERE r.lane = t.lane AND r.prank = t.prank AND r.seq = t.seq),
used AS (
  UPDATE slot s SET running = s.running + u.n
  FROM (SELECT own, count(*)::int4 AS n FROM taken WHERE own > 0 GROUP BY own ORDER BY own) u WHERE s.code = u.own)
SELECT seq, prank, code, false AS is_stray, lane FROM taken
UNION ALL
SELECT min(seq), 0::int2, code, true, 0 FROM seen WHERE is_stray GROUP BY code
ORDER BY is_stray, prank, seq
