-- Extends leases, in the order that they come in; says which sessions are live, and whether they drain.
UPDATE session s SET seen_at = b.seen, lease_until = b.until
FROM unnest($1::bytea[], $2::int8[], $3::int8[]) AS b(id, seen, until) WHERE s.id = b.id AND s.gone_at IS NULL
RETURNING s.id, s.is_draining
