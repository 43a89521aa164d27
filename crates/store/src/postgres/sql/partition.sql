-- The tables of one day; see the twin. Large payloads need no table of their own here: they are stored out of line.
CREATE TABLE task_d{day}(seq int8 PRIMARY KEY, tag int8 NOT NULL, code int4 NOT NULL, cluster int4 NOT NULL,
  rev int4 NOT NULL, prank int2 NOT NULL, created int8 NOT NULL, run_at int8 NOT NULL, timeout int8 NOT NULL,
  max_retries int8 NOT NULL, retry_delay int8 NOT NULL, label text, schedule bytea, parent bytea, retry_of bytea,
  payload bytea NOT NULL, trace bytea);
ALTER TABLE task_d{day} ALTER payload SET STORAGE EXTERNAL;
CREATE INDEX task_d{day}_label ON task_d{day}(label, seq) WHERE label IS NOT NULL;
CREATE INDEX task_d{day}_schedule ON task_d{day}(schedule, seq) WHERE schedule IS NOT NULL;
CREATE INDEX task_d{day}_parent ON task_d{day}(parent, seq) WHERE parent IS NOT NULL;
CREATE TABLE done_d{day}(seq int8 PRIMARY KEY, code int4 NOT NULL, cluster int4 NOT NULL, status int2 NOT NULL,
  run_at int8 NOT NULL, attempts int4 NOT NULL, retries int4 NOT NULL, losses int4 NOT NULL, started int8,
  ended int8 NOT NULL, percent int2 NOT NULL, msg text NOT NULL, error_class text, runner bytea, log_size int8 NOT NULL,
  fence int8, outcome text, attempt_msg text, wall int8, usr int8, sys int8, peak int8, isolation int4, log bytea);
CREATE INDEX done_d{day}_list ON done_d{day}(code, status, seq);
CREATE TABLE attempt_d{day}(seq int8 NOT NULL, n int4 NOT NULL, runner bytea NOT NULL, started int8 NOT NULL,
  ended int8 NOT NULL, log_size int8 NOT NULL, fence int8 NOT NULL, outcome text NOT NULL, msg text NOT NULL, wall int8,
  usr int8, sys int8, peak int8, isolation int4, log bytea, PRIMARY KEY(seq, n));
CREATE TABLE result_d{day}(seq int8 PRIMARY KEY, data bytea NOT NULL);
