-- Keeps a queued task where it waits until the transaction ends; says whether it is still there.
WITH r AS MATERIALIZED (SELECT seq FROM ready WHERE code = $2 AND seq = $1 FOR UPDATE),
d AS MATERIALIZED (SELECT seq FROM delayed WHERE code = $2 AND seq = $1 FOR UPDATE)
SELECT seq FROM r UNION ALL SELECT seq FROM d
