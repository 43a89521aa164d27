-- How a queued task stands that is not as it was when it was first queued.
INSERT OR REPLACE INTO waiting(seq, run_at, attempts, retries, losses, started, updated, percent, msg, runner, log_size)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
