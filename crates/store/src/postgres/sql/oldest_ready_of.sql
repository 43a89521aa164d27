-- The oldest key that is ready of these packages: the first of each.
SELECT min(x.seq) FROM unnest($1::int4[]) AS k(code) CROSS JOIN LATERAL (
  SELECT r.seq FROM ready r WHERE r.code = k.code ORDER BY r.seq LIMIT 1) x
