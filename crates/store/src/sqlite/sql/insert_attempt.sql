-- An attempt that was not the last of its task.
INSERT INTO attempt_d{day}(seq, n, runner, started, ended, log_size, fence, outcome, msg, wall, user, system, peak,
  isolation, log)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
