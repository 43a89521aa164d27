-- What attempts of a schedule's tasks used that ended on a day, as in add_usage_day.sql.
INSERT INTO usage_schedule(code, day, schedule, attempts, wall_ms, cpu_us, peak) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT(code, day, schedule) DO UPDATE SET attempts = attempts + excluded.attempts,
  wall_ms = min(wall_ms + excluded.wall_ms, 9223372036854775807),
  cpu_us = min(cpu_us + excluded.cpu_us, 9223372036854775807), peak = max(peak, excluded.peak)
