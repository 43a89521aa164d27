-- The ends of tasks, with their last attempts if they ended by one.
INSERT INTO done_d{day}(seq, code, cluster, status, run_at, attempts, retries, losses, started, ended, percent, msg,
  error_class, runner, log_size, fence, outcome, attempt_msg, wall, usr, sys, peak, isolation, log)
SELECT * FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::int2[], $5::int8[], $6::int4[], $7::int4[], $8::int4[],
  $9::int8[], $10::int8[], $11::int2[], $12::text[], $13::text[], $14::bytea[], $15::int8[], $16::int8[], $17::text[],
  $18::text[], $19::int8[], $20::int8[], $21::int8[], $22::int8[], $23::int4[], $24::bytea[])
