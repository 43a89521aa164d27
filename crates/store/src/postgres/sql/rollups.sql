-- What happened in these steps, as each writer counted it.
SELECT complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us, peak, ran, waited, queued, code, step
FROM rollup WHERE grain = $1 AND code = ANY($2) AND step BETWEEN $3 AND $4
