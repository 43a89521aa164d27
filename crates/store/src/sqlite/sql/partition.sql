-- The tables of one day. `payload` of a task is NULL where it is large and in `payload_d<day>`, so that nothing that
-- walks tasks walks overflow pages. `done` has the last attempt of its task in it (`outcome` is NULL if the task ended
-- while it waited); the attempts before are in `attempt`.
CREATE TABLE task_d{day}(seq INTEGER PRIMARY KEY, tag INT NOT NULL, lane INT NOT NULL, rev INT NOT NULL,
  prank INT NOT NULL, created INT NOT NULL, run_at INT NOT NULL, timeout INT NOT NULL, max_retries INT NOT NULL,
  retry_delay INT NOT NULL, label TEXT, schedule BLOB, parent BLOB, retry_of BLOB, payload BLOB,
  trace BLOB);
CREATE INDEX task_d{day}_label ON task_d{day}(label, seq) WHERE label IS NOT NULL;
CREATE INDEX task_d{day}_schedule ON task_d{day}(schedule, seq) WHERE schedule IS NOT NULL;
CREATE INDEX task_d{day}_parent ON task_d{day}(parent, seq) WHERE parent IS NOT NULL;
CREATE TABLE payload_d{day}(seq INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE done_d{day}(seq INTEGER PRIMARY KEY, lane INT NOT NULL, status INT NOT NULL, run_at INT NOT NULL,
  attempts INT NOT NULL, retries INT NOT NULL, losses INT NOT NULL, started INT, ended INT NOT NULL,
  percent INT NOT NULL, msg TEXT NOT NULL, error_class TEXT, runner BLOB, log_size INT NOT NULL,
  fence INT, outcome, attempt_msg TEXT, wall INT, user INT, system INT, peak INT, isolation INT, log);
CREATE INDEX done_d{day}_list ON done_d{day}(lane, status, seq);
CREATE TABLE attempt_d{day}(seq INT NOT NULL, n INT NOT NULL, runner BLOB NOT NULL, started INT NOT NULL,
  ended INT NOT NULL, log_size INT NOT NULL, fence INT NOT NULL, outcome NOT NULL, msg TEXT NOT NULL, wall INT, user INT,
  system INT, peak INT, isolation INT, log, PRIMARY KEY(seq, n)) WITHOUT ROWID;
CREATE TABLE result_d{day}(seq INTEGER PRIMARY KEY, data NOT NULL);
