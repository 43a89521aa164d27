-- What ended in a minute, in the order that it is written in.
SELECT complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us, peak, ran, waited, minute
FROM usage_minute WHERE code = ?1 AND minute BETWEEN ?2 AND ?3 ORDER BY minute
