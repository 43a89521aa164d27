-- Whether the task ($3, of package $5) is ready, and how many others of its cluster go before it, counted up to $4: those
-- of packages that may start, and that need no more isolation than it does.
SELECT EXISTS (SELECT 1 FROM ready r WHERE r.code = $5 AND r.seq = $3),
  (SELECT count(*) FROM (
    SELECT 1 FROM lane l JOIN ready r ON r.lane = l.id
    WHERE l.cluster = $1 AND (r.prank, r.seq) < ($2, $3)
      AND EXISTS (SELECT 1 FROM code k, code mine
        WHERE k.num = r.code AND NOT k.is_paused AND mine.num = $5 AND k.needs <= mine.needs)
      AND NOT EXISTS (SELECT 1 FROM slot s WHERE s.code = r.code AND s.running >= s.cap)
    LIMIT $4) x)
