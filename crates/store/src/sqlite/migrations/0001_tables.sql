-- Everything that is not partitioned by day. The status of a task is which narrow table its key is in: `ready`,
-- `delayed`, `running` here, `done_d<day>` in the partition of its creation. What a task asked for is written once, to
-- `task_d<day>`.

CREATE TABLE secret(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE project(seq INTEGER PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE token(seq INTEGER PRIMARY KEY, last_used_at INT, data TEXT NOT NULL);

-- `num` is the short name of a package in other tables; `data` has its newest revision in it.
CREATE TABLE code(num INTEGER PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE revision(code INT NOT NULL, rev INT NOT NULL, data TEXT NOT NULL, PRIMARY KEY(code, rev)) WITHOUT ROWID;

-- A lane is what claims are ordered within and counters are kept for: the tasks of a package for one cluster.
CREATE TABLE lane(id INTEGER PRIMARY KEY, code INT NOT NULL, cluster TEXT NOT NULL, UNIQUE(code, cluster));
CREATE TABLE counter(lane INT NOT NULL, status INT NOT NULL, n INT NOT NULL, PRIMARY KEY(lane, status)) WITHOUT ROWID;
CREATE TABLE ended(code INT NOT NULL, minute INT NOT NULL, status INT NOT NULL, n INT NOT NULL,
  PRIMARY KEY(code, minute, status)) WITHOUT ROWID;

-- `prank` is 2 - priority: one ascending scan gives highest priority first, oldest first among equals.
CREATE TABLE ready(lane INT NOT NULL, prank INT NOT NULL, seq INT NOT NULL,
  PRIMARY KEY(lane, prank, seq)) WITHOUT ROWID;
CREATE TABLE delayed(run_at INT NOT NULL, seq INT NOT NULL, lane INT NOT NULL, prank INT NOT NULL,
  PRIMARY KEY(run_at, seq)) WITHOUT ROWID;
CREATE INDEX delayed_list ON delayed(lane, seq);

-- How a queued task stands that is not as it was when it was first queued: it has run before, or reported progress.
CREATE TABLE waiting(seq INTEGER PRIMARY KEY, run_at INT NOT NULL, attempts INT NOT NULL, retries INT NOT NULL,
  losses INT NOT NULL, started INT, updated INT NOT NULL, percent INT NOT NULL, msg TEXT NOT NULL, runner BLOB,
  log_size INT NOT NULL);
CREATE TABLE running(seq INTEGER PRIMARY KEY, run_at INT NOT NULL, attempts INT NOT NULL, retries INT NOT NULL,
  losses INT NOT NULL, started INT, updated INT NOT NULL, percent INT NOT NULL, msg TEXT NOT NULL, runner BLOB,
  log_size INT NOT NULL, cancel_requested INT NOT NULL, fence INT NOT NULL, tag INT NOT NULL, lane INT NOT NULL,
  prank INT NOT NULL, max_retries INT NOT NULL, retry_delay INT NOT NULL);

-- Chunks of the logs of running attempts; gone when the attempt has ended.
CREATE TABLE chunk(seq INT NOT NULL, n INT NOT NULL, stream INT NOT NULL, at_ms INT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY(seq, n)) WITHOUT ROWID;

CREATE TABLE session(seq INTEGER PRIMARY KEY, lease_until INT NOT NULL, data TEXT NOT NULL);
CREATE TABLE isolation(id INTEGER PRIMARY KEY, data TEXT NOT NULL UNIQUE);

CREATE TABLE schedule(seq INTEGER PRIMARY KEY, project INT NOT NULL, code INT NOT NULL, next_at INT,
  is_alive INT NOT NULL, payload BLOB NOT NULL, data TEXT NOT NULL);
CREATE INDEX schedule_list ON schedule(project, seq);
CREATE INDEX schedule_due ON schedule(next_at, seq) WHERE next_at IS NOT NULL;
CREATE INDEX schedule_alive ON schedule(project) WHERE is_alive;
CREATE INDEX schedule_alive_code ON schedule(code) WHERE is_alive;

-- Every fence that was ever minted is below it. Raised in large steps, so that a claim seldom writes it.
CREATE TABLE fence(mark INT NOT NULL);
INSERT INTO fence(mark) VALUES (0);

-- What was queued under a key that its caller chose: 12 bytes for each task.
CREATE TABLE queue_key(project INT NOT NULL, key TEXT NOT NULL, at INT NOT NULL, ids BLOB NOT NULL,
  PRIMARY KEY(project, key)) WITHOUT ROWID;
CREATE INDEX queue_key_age ON queue_key(at);
