-- Adds to how the queue changed in steps in which nothing else happened, in the order that they come in.
INSERT INTO rollup AS u (shard, grain, code, step, complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us,
  peak, ran, waited, queued)
SELECT $1, i.grain, i.code, i.step, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}', '{}', i.n
FROM unnest($2::int2[], $3::int4[], $4::int8[], $5::int8[]) AS i(grain, code, step, n)
ON CONFLICT (grain, code, step, shard) DO UPDATE SET queued = u.queued + excluded.queued
