-- Sets the limit of a package, and counts what runs of it by writing to each row: what is just ending is waited for.
WITH held AS (UPDATE running SET cancel_requested = cancel_requested WHERE code = $1 RETURNING seq)
INSERT INTO slot AS s (code, running, cap) SELECT $1, count(*)::int4, $2 FROM held
ON CONFLICT (code) DO UPDATE SET running = excluded.running, cap = excluded.cap
