-- What ended in a minute, all of it.
INSERT OR REPLACE INTO usage_minute(code, minute, complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us,
  peak, ran, waited)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
