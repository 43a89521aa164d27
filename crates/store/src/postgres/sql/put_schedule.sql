-- Schedules as they are now; the columns besides `data` are what they are found by.
INSERT INTO schedule(seq, project, code, next_at, is_alive, payload, data)
SELECT * FROM unnest($1::int8[], $2::int8[], $3::bytea[], $4::int8[], $5::bool[], $6::bytea[], $7::text[])
ON CONFLICT (seq) DO UPDATE SET project = excluded.project, code = excluded.code, next_at = excluded.next_at,
  is_alive = excluded.is_alive, payload = excluded.payload, data = excluded.data
