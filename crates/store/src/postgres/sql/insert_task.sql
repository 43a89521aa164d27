-- What tasks ask for, written once, and their keys where they wait: `delayed`, or the lane that their package goes to
-- now.
WITH i AS (
  SELECT * FROM unnest($1::int8[], $2::int8[], $3::int4[], $4::int4[], $5::int4[], $6::int2[], $7::int8[], $8::int8[],
    $9::int8[], $10::int8[], $11::int8[], $12::text[], $13::bytea[], $14::bytea[], $15::bytea[], $16::bytea[], $17::bytea[])
    AS t(seq, tag, code, cluster, rev, prank, created, run_at, timeout, max_retries, retry_delay, label, schedule, parent,
      retry_of, payload, trace)),
t AS (
  INSERT INTO task_d{day}(seq, tag, code, cluster, rev, prank, created, run_at, timeout, max_retries, retry_delay, label,
    schedule, parent, retry_of, payload, trace) SELECT * FROM i),
d AS (
  INSERT INTO delayed(run_at, seq, code, cluster, prank)
  SELECT run_at, seq, code, cluster, prank FROM i WHERE run_at > created)
INSERT INTO ready(lane, prank, seq, code)
SELECT lane_for(i.cluster, i.code), i.prank, i.seq, i.code
FROM i WHERE i.run_at <= i.created
