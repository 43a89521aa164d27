-- A cluster by its name, noted as in use.
INSERT INTO cluster AS c (name, used_at) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET used_at = greatest(c.used_at, excluded.used_at)
RETURNING num
