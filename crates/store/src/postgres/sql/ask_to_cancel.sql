-- Notes for running tasks that they are to be cancelled; only the first time changes when they were last changed.
UPDATE running r SET cancel_requested = true, updated = CASE WHEN r.cancel_requested THEN r.updated ELSE $3 END
FROM unnest($1::int8[], $2::int8[]) AS i(seq, tag) WHERE r.seq = i.seq AND r.tag = i.tag
RETURNING r.seq, r.tag
