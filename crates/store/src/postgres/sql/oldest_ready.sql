-- The oldest key that is ready: the first of each lane and priority, as each of those is in order.
SELECT min(x.seq) FROM lane l CROSS JOIN generate_series(0, 2) AS p(prank) CROSS JOIN LATERAL (
  SELECT r.seq FROM ready r WHERE r.lane = l.id AND r.prank = p.prank::int2 ORDER BY r.seq LIMIT 1) x
