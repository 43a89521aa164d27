-- Attempts that were not the last of their tasks.
INSERT INTO attempt_d{day}(seq, n, runner, started, ended, log_size, fence, outcome, msg, wall, usr, sys, peak, isolation,
  log)
SELECT * FROM unnest($1::int8[], $2::int4[], $3::bytea[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::text[],
  $9::text[], $10::int8[], $11::int8[], $12::int8[], $13::int8[], $14::int4[], $15::bytea[])
