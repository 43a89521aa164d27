-- A schedule as it is now; the columns besides `data` are what it is found by.
INSERT OR REPLACE INTO schedule(seq, project, code, next_at, is_alive, payload, data)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
