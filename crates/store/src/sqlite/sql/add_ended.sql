-- Tasks that ended, by the minute.
INSERT INTO ended(code, minute, status, n) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT(code, minute, status) DO UPDATE SET n = n + excluded.n
