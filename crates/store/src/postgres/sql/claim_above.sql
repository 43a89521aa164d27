-- The head of a lane from where tasks of each rank were taken last ($4 to $6), for claim.sql: what was deleted below that
-- is not walked over. It may lock more than is taken, until the end of the transaction.
SELECT x.lane, x.prank, x.seq, x.code
FROM (VALUES (0::int2), (1::int2), (2::int2)) AS p(prank)
CROSS JOIN LATERAL (
  SELECT coalesce(max(f.seq), 0) AS seq FROM unnest($4::int4[], $5::int2[], $6::int8[]) AS f(lane, prank, seq)
  WHERE f.lane = o.id AND f.prank = p.prank) f
CROSS JOIN LATERAL (
  SELECT lane, prank, seq, code FROM ready WHERE lane = o.id AND prank = p.prank AND seq >= f.seq
  ORDER BY seq LIMIT least(o.room, $2::int8) FOR UPDATE SKIP LOCKED) x
