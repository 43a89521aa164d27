-- Whether a task with a key from $1 on and below $2 has not ended.
SELECT EXISTS (SELECT 1 FROM running WHERE seq >= $1 AND seq < $2)
  OR EXISTS (SELECT 1 FROM code k CROSS JOIN LATERAL (
    SELECT 1 FROM ready r WHERE r.code = k.num AND r.seq >= $1 AND r.seq < $2 LIMIT 1) x)
  OR EXISTS (SELECT 1 FROM code k CROSS JOIN LATERAL (
    SELECT 1 FROM delayed d WHERE d.code = k.num AND d.seq >= $1 AND d.seq < $2 LIMIT 1) x)
