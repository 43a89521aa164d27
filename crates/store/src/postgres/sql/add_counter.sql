-- Adds to counters, in the order that they come in; each writer has rows of its own.
INSERT INTO counter AS c (shard, code, cluster, status, n)
SELECT $1, t.code, t.cluster, t.status, t.n FROM unnest($2::int4[], $3::int4[], $4::int2[], $5::int8[])
  AS t(code, cluster, status, n)
ON CONFLICT (shard, code, cluster, status) DO UPDATE SET n = c.n + excluded.n
