-- The end of a task, with its last attempt if it ended by one.
INSERT INTO done_d{day}(seq, lane, status, run_at, attempts, retries, losses, started, ended, percent, msg, error_class,
  runner, log_size, fence, outcome, attempt_msg, wall, user, system, peak, isolation, log)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)
