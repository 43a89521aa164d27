-- Clusters in which keys of the package are in lanes that they do not belong to.
SELECT k.num, l.cluster FROM code k CROSS JOIN LATERAL (
  SELECT DISTINCT l.cluster FROM lane l WHERE ((l.code = 0 AND k.has_own_lane) OR (l.code IN (0, k.num) AND l.needs <> k.needs))
    AND EXISTS (SELECT 1 FROM ready r WHERE r.code = k.num AND r.lane = l.id)) l
WHERE k.id = $1
