-- Takes the keys of queued tasks away, wherever they wait; says which were there.
WITH i AS MATERIALIZED (SELECT * FROM unnest($1::int8[], $2::int4[]) AS i(seq, code)),
from_ready AS (DELETE FROM ready r USING i WHERE r.code = i.code AND r.seq = i.seq RETURNING r.seq),
from_delayed AS (DELETE FROM delayed d USING i WHERE d.code = i.code AND d.seq = i.seq RETURNING d.seq)
SELECT seq FROM from_ready UNION ALL SELECT seq FROM from_delayed
