-- The head of a lane, for claim.sql.
SELECT lane, prank, seq, code FROM ready WHERE lane = o.id ORDER BY prank, seq LIMIT least(o.room, $2::int8)
FOR UPDATE SKIP LOCKED
