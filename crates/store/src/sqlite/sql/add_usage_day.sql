-- What attempts of a package used that ended on a day. A sum that is too great for an integer becomes a real number, and
-- stops at the greatest integer.
INSERT INTO usage_day(code, day, attempts, wall_ms, cpu_us, peak) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT(code, day) DO UPDATE SET attempts = attempts + excluded.attempts,
  wall_ms = min(wall_ms + excluded.wall_ms, 9223372036854775807),
  cpu_us = min(cpu_us + excluded.cpu_us, 9223372036854775807), peak = max(peak, excluded.peak)
