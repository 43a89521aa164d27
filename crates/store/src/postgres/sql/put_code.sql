-- A package as it is from now on.
UPDATE code SET is_alive = $2, is_paused = $3, has_own_lane = $4, version = $5, data = $6 WHERE num = $1
