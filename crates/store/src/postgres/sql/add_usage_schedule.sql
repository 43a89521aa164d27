-- The same as add_usage_day.sql for the tasks of one schedule.
INSERT INTO usage_schedule AS u (shard, code, day, schedule, attempts, wall_ms, cpu_us, peak)
VALUES ($1, $2, $3, $4, $5[1], $5[2], $5[3], $5[4])
ON CONFLICT (code, day, schedule, shard) DO UPDATE SET attempts = u.attempts + excluded.attempts,
  wall_ms = plus(u.wall_ms, excluded.wall_ms), cpu_us = plus(u.cpu_us, excluded.cpu_us),
  peak = greatest(u.peak, excluded.peak)
