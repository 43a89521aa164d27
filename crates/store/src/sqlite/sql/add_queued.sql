-- Adds to how much the number of queued tasks changed in a step, and leaves what ended in it as it is.
INSERT INTO rollup(grain, code, step, complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us, peak, ran,
  waited, queued)
VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0, 0, 0, 0, x'', x'', ?4)
ON CONFLICT(grain, code, step) DO UPDATE SET queued = queued + excluded.queued
