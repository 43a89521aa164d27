-- Extends the lease of whoever asks, or takes it over once it has run out: by that the term grows. Says who leads
-- afterwards, in which term, and for how many milliseconds. Of two who ask at once one waits and finds it taken.
WITH took AS (
  UPDATE leader SET holder = $1, term = term + CASE WHEN holder = $1 THEN 0 ELSE 1 END,
    until = clock_timestamp() + $2::int8 * interval '1 millisecond'
  WHERE holder = $1 OR until <= clock_timestamp()
  RETURNING holder, term, until)
SELECT holder, term, greatest(0, extract(epoch FROM until - clock_timestamp()) * 1000)::int8
FROM (SELECT * FROM took UNION ALL
      SELECT holder, term, until FROM leader WHERE NOT EXISTS (SELECT 1 FROM took)) l
