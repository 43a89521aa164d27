-- Adds what happened in a step. $5: complete, error, timeout, cancelled, killed; $6: attempts, wall_ms, cpu_us, peak.
INSERT INTO rollup AS u (shard, grain, code, step, complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us,
  peak, ran, waited, queued)
VALUES ($1, $2, $3, $4, $5[1], $5[2], $5[3], $5[4], $5[5], $6[1], $6[2], $6[3], $6[4], $7, $8, $9)
ON CONFLICT (grain, code, step, shard) DO UPDATE SET complete = u.complete + excluded.complete,
  error = u.error + excluded.error, timeout = u.timeout + excluded.timeout,
  cancelled = u.cancelled + excluded.cancelled, killed = u.killed + excluded.killed,
  attempts = u.attempts + excluded.attempts, wall_ms = plus(u.wall_ms, excluded.wall_ms),
  cpu_us = plus(u.cpu_us, excluded.cpu_us), peak = greatest(u.peak, excluded.peak),
  ran = plus(u.ran, excluded.ran), waited = plus(u.waited, excluded.waited), queued = u.queued + excluded.queued
