-- How queued tasks stand that are not as they were when they were first queued.
INSERT INTO waiting(seq, run_at, attempts, retries, losses, started, updated, percent, msg, runner, log_size)
SELECT * FROM unnest($1::int8[], $2::int8[], $3::int4[], $4::int4[], $5::int4[], $6::int8[], $7::int8[], $8::int2[],
  $9::text[], $10::bytea[], $11::int8[])
ON CONFLICT (seq) DO UPDATE SET run_at = excluded.run_at, attempts = excluded.attempts, retries = excluded.retries,
  losses = excluded.losses, started = excluded.started, updated = excluded.updated, percent = excluded.percent,
  msg = excluded.msg, runner = excluded.runner, log_size = excluded.log_size
