-- Runners hold the tasks under new fences.
INSERT INTO running(seq, run_at, attempts, retries, losses, started, updated, percent, msg, runner, log_size,
  cancel_requested, fence, tag, code, cluster, prank, max_retries, retry_delay, schedule)
SELECT i.seq, i.run_at, i.attempts, i.retries, i.losses, $1, $1, 0, '', i.runner, i.log_size, false, i.fence, i.tag, i.code,
  i.cluster, i.prank, i.max_retries, i.retry_delay, i.schedule
FROM unnest($2::int8[], $3::int8[], $4::int4[], $5::int4[], $6::int4[], $7::bytea[], $8::int8[], $9::int8[], $10::int8[],
  $11::int4[], $12::int4[], $13::int2[], $14::int8[], $15::int8[], $16::bytea[])
  AS i(seq, run_at, attempts, retries, losses, runner, log_size, fence, tag, code, cluster, prank, max_retries,
    retry_delay, schedule)
