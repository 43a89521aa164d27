-- What happened in the steps of a package, in the order that it is written in.
SELECT complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us, peak, ran, waited, queued, step
FROM rollup WHERE grain = ?1 AND code = ?2 AND step BETWEEN ?3 AND ?4 ORDER BY step
