-- The results that workers left.
INSERT INTO result_d{day}(seq, data) SELECT * FROM unnest($1::int8[], $2::bytea[])
ON CONFLICT (seq) DO UPDATE SET data = excluded.data
