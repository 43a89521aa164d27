-- A new package; says its number.
INSERT INTO code(id, project, name, is_alive, is_paused, has_own_lane, needs, version, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING num
