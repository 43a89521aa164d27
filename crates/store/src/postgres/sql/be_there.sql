-- Where a server is reached, kept for so many milliseconds.
INSERT INTO peer(server, url, until) VALUES ($1, $2, clock_timestamp() + $3::int8 * interval '1 millisecond')
ON CONFLICT (server) DO UPDATE SET url = excluded.url, until = excluded.until
