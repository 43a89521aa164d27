-- Adds what attempts used that ended on a day. $4: attempts, wall_ms, cpu_us, peak.
INSERT INTO usage_day AS u (shard, code, day, attempts, wall_ms, cpu_us, peak)
VALUES ($1, $2, $3, $4[1], $4[2], $4[3], $4[4])
ON CONFLICT (code, day, shard) DO UPDATE SET attempts = u.attempts + excluded.attempts,
  wall_ms = plus(u.wall_ms, excluded.wall_ms), cpu_us = plus(u.cpu_us, excluded.cpu_us),
  peak = greatest(u.peak, excluded.peak)
