-- The newest keys of the day below $2 and from $1 on: of the done tasks of each package with each status ($4, $5), of
-- the queued ones of each package in $6, and of the running ones of those in $7. $8: of this cluster only.
SELECT seq FROM (
  SELECT k.seq FROM unnest($4::int4[], $5::int2[]) AS s(code, status) CROSS JOIN LATERAL (
    SELECT d.seq FROM done_d{day} d
    WHERE d.code = s.code AND d.status = s.status AND d.seq < $2 AND d.seq >= $1 AND ($8::int4 IS NULL OR d.cluster = $8)
    ORDER BY d.seq DESC LIMIT $3) k
  UNION ALL
  SELECT k.seq FROM unnest($6::int4[]) AS s(code) CROSS JOIN LATERAL (
    SELECT r.seq FROM ready r
    WHERE r.code = s.code AND r.seq < $2 AND r.seq >= $1
      AND ($8::int4 IS NULL OR (SELECT l.cluster FROM lane l WHERE l.id = r.lane) = $8)
    ORDER BY r.seq DESC LIMIT $3) k
  UNION ALL
  SELECT k.seq FROM unnest($6::int4[]) AS s(code) CROSS JOIN LATERAL (
    SELECT r.seq FROM delayed r
    WHERE r.code = s.code AND r.seq < $2 AND r.seq >= $1 AND ($8::int4 IS NULL OR r.cluster = $8)
    ORDER BY r.seq DESC LIMIT $3) k
  UNION ALL
  SELECT r.seq FROM running r
  WHERE r.code = ANY($7::int4[]) AND r.seq < $2 AND r.seq >= $1 AND ($8::int4 IS NULL OR r.cluster = $8)) a
ORDER BY seq DESC LIMIT $3
