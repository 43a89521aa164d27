-- What the attempts of this day's tasks have used so far. A runner may have reported anything: `sum` would refuse what is
-- too great for an integer.
CREATE TEMP TABLE so_far AS
SELECT l.code AS code, e.ended / 86400000 AS day, t.schedule AS schedule, e.wall AS wall, e.cpu AS cpu, e.peak AS peak
FROM (SELECT seq, ended, wall, user + system AS cpu, peak FROM done_d{day} WHERE outcome IS NOT NULL
  UNION ALL SELECT seq, ended, wall, user + system, peak FROM attempt_d{day}) e
JOIN task_d{day} t ON t.seq = e.seq
JOIN lane l ON l.id = t.lane;
INSERT INTO usage_day
SELECT code, day, count(*), CAST(total(wall) AS INTEGER), CAST(total(cpu) AS INTEGER), coalesce(max(peak), 0)
FROM so_far WHERE true GROUP BY code, day
ON CONFLICT(code, day) DO UPDATE SET attempts = attempts + excluded.attempts,
  wall_ms = min(wall_ms + excluded.wall_ms, 9223372036854775807),
  cpu_us = min(cpu_us + excluded.cpu_us, 9223372036854775807), peak = max(peak, excluded.peak);
INSERT INTO usage_schedule
SELECT code, day, schedule, count(*), CAST(total(wall) AS INTEGER), CAST(total(cpu) AS INTEGER), coalesce(max(peak), 0)
FROM so_far WHERE schedule IS NOT NULL GROUP BY code, day, schedule
ON CONFLICT(code, day, schedule) DO UPDATE SET attempts = attempts + excluded.attempts,
  wall_ms = min(wall_ms + excluded.wall_ms, 9223372036854775807),
  cpu_us = min(cpu_us + excluded.cpu_us, 9223372036854775807), peak = max(peak, excluded.peak);
DROP TABLE so_far;
