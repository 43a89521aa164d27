-- What tasks asked for, wherever they stand now. The columns are those of insert_task.sql.
INSERT INTO task_d{day}(seq, tag, code, cluster, rev, prank, created, run_at, timeout, max_retries, retry_delay, label,
  schedule, parent, retry_of, payload, trace)
SELECT * FROM unnest($1::int8[], $2::int8[], $3::int4[], $4::int4[], $5::int4[], $6::int2[], $7::int8[], $8::int8[],
  $9::int8[], $10::int8[], $11::int8[], $12::text[], $13::bytea[], $14::bytea[], $15::bytea[], $16::bytea[], $17::bytea[])
