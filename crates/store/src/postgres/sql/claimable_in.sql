-- Clusters with a ready task of the package, if it may start another, and the isolation that it needs.
SELECT c.name, (SELECT k.needs FROM code k WHERE k.num = $1) FROM cluster c
WHERE EXISTS (SELECT 1 FROM code k WHERE k.num = $1 AND NOT k.is_paused)
  AND NOT EXISTS (SELECT 1 FROM slot s WHERE s.code = $1 AND s.running >= s.cap)
  AND EXISTS (SELECT 1 FROM ready r JOIN lane l ON l.id = r.lane WHERE r.code = $1 AND l.cluster = c.num)
