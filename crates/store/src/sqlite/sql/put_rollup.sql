-- What happened in a step, all of it.
INSERT OR REPLACE INTO rollup(grain, code, step, complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us,
  peak, ran, waited, queued)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
