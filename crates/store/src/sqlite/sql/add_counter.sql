-- One change for each lane and status that a group touched, not one for each task.
INSERT INTO counter(lane, status, n) VALUES (?1, ?2, ?3)
ON CONFLICT(lane, status) DO UPDATE SET n = n + excluded.n
