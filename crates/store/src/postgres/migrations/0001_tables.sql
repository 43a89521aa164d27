-- Everything that is not partitioned by day, laid out as in SQLite (sqlite/migrations): the status of a task is which
-- narrow table its key is in. What differs: a claim looks at few lanes, not at one for each package, as it cannot keep
-- their order in memory; and whatever every server adds to has a row for each of their connections.
-- compatible: 1

CREATE TABLE secret(name text PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE project(seq int8 PRIMARY KEY, data text NOT NULL);
CREATE TABLE token(seq int8 PRIMARY KEY, last_used_at int8, data text NOT NULL);

-- `num` is the short name of a package in other tables; `data` has its newest revision in it. The tasks of a package
-- with `has_own_lane` (it is paused, or has a limit) are in lanes of their own, so that no claim walks over them. `needs`
-- is the weakest isolation that its project lets them run in.
CREATE TABLE code(num int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id bytea NOT NULL UNIQUE, project int8 NOT NULL,
  name text NOT NULL, is_alive bool NOT NULL, is_paused bool NOT NULL, has_own_lane bool NOT NULL,
  needs int2 NOT NULL, version int8 NOT NULL,
  data text NOT NULL);
CREATE INDEX code_changed ON code(version);
CREATE INDEX code_of ON code(project);
CREATE UNIQUE INDEX code_named ON code(project, name) WHERE is_alive;
CREATE TABLE revision(code int4 NOT NULL, rev int4 NOT NULL, data text NOT NULL, PRIMARY KEY(code, rev));
-- Rises with every change of a package, which has it then: what a server has not seen yet is above what it has seen.
CREATE TABLE catalog(version int8 NOT NULL);
INSERT INTO catalog VALUES (0);

CREATE TABLE cluster(num int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, used_at int8 NOT NULL);

-- What a claim reads in order. `code` is 0 for the lanes that the packages of a cluster share: one for each level of
-- isolation that they may need, made with the cluster.
CREATE TABLE lane(id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, cluster int4 NOT NULL, code int4 NOT NULL,
  needs int2 NOT NULL, UNIQUE(cluster, code, needs));
CREATE INDEX lane_of_code ON lane(code) WHERE code > 0;

-- Packages with a limit. Whoever starts tasks of one takes its row first; whoever finds it taken leaves it out.
CREATE TABLE slot(code int4 PRIMARY KEY, running int4 NOT NULL, cap int4 NOT NULL)
  WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0);

-- `prank` is 2 - priority: one ascending scan gives highest priority first, oldest first among equals.
CREATE TABLE ready(lane int4 NOT NULL, prank int2 NOT NULL, seq int8 NOT NULL, code int4 NOT NULL,
  PRIMARY KEY(lane, prank, seq))
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
CREATE INDEX ready_list ON ready(code, seq);
CREATE TABLE delayed(run_at int8 NOT NULL, seq int8 NOT NULL, code int4 NOT NULL, cluster int4 NOT NULL,
  prank int2 NOT NULL, PRIMARY KEY(run_at, seq))
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX delayed_list ON delayed(code, seq);

-- How a queued task stands that is not as it was when it was first queued: it has run before, or reported progress.
CREATE TABLE waiting(seq int8 PRIMARY KEY, run_at int8 NOT NULL, attempts int4 NOT NULL, retries int4 NOT NULL,
  losses int4 NOT NULL, started int8, updated int8 NOT NULL, percent int2 NOT NULL, msg text NOT NULL, runner bytea,
  log_size int8 NOT NULL)
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE running(seq int8 PRIMARY KEY, run_at int8 NOT NULL, attempts int4 NOT NULL, retries int4 NOT NULL,
  losses int4 NOT NULL, started int8 NOT NULL, updated int8 NOT NULL, percent int2 NOT NULL, msg text NOT NULL,
  runner bytea NOT NULL, log_size int8 NOT NULL, cancel_requested bool NOT NULL, fence int8 NOT NULL, tag int8 NOT NULL,
  code int4 NOT NULL, cluster int4 NOT NULL, prank int2 NOT NULL, max_retries int8 NOT NULL, retry_delay int8 NOT NULL,
  schedule bytea)
  WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0);
CREATE INDEX running_of ON running(runner);

-- Chunks of the logs of running attempts; gone when the attempt has ended.
CREATE TABLE chunk(seq int8 NOT NULL, n int8 NOT NULL, stream int2 NOT NULL, at_ms int8 NOT NULL, data bytea NOT NULL,
  PRIMARY KEY(seq, n))
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE session(id bytea PRIMARY KEY, instance text NOT NULL, lease_until int8 NOT NULL, seen_at int8 NOT NULL,
  gone_at int8, is_draining bool NOT NULL, level int2 NOT NULL, data text NOT NULL)
  WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0);
CREATE TABLE isolation(id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data text NOT NULL UNIQUE);

CREATE TABLE schedule(seq int8 PRIMARY KEY, project int8 NOT NULL, code bytea NOT NULL, next_at int8,
  is_alive bool NOT NULL, payload bytea NOT NULL, data text NOT NULL);
CREATE INDEX schedule_list ON schedule(project, seq);
CREATE INDEX schedule_due ON schedule(next_at, seq) WHERE next_at IS NOT NULL;
CREATE INDEX schedule_alive ON schedule(project) WHERE is_alive;
CREATE INDEX schedule_alive_code ON schedule(code) WHERE is_alive;

-- What was queued under a key that its caller chose: 12 bytes for each task.
CREATE TABLE queue_key(project int8 NOT NULL, key text NOT NULL, at int8 NOT NULL, asked bytea NOT NULL,
  ids bytea NOT NULL, PRIMARY KEY(project, key));
CREATE INDEX queue_key_age ON queue_key(at);

-- Each process that serves from here, and each connection that writes for it, adds to rows of its own (`shard`): two
-- that add at the same time never wait for each other. Sums are over all shards.
CREATE SEQUENCE server;
CREATE TABLE counter(shard int2 NOT NULL, code int4 NOT NULL, cluster int4 NOT NULL, status int2 NOT NULL,
  n int8 NOT NULL, PRIMARY KEY(shard, code, cluster, status))
  WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0);
CREATE TABLE rollup(shard int2 NOT NULL, grain int2 NOT NULL, code int4 NOT NULL, step int8 NOT NULL,
  complete int8 NOT NULL, error int8 NOT NULL, timeout int8 NOT NULL, cancelled int8 NOT NULL, killed int8 NOT NULL,
  attempts int8 NOT NULL, wall_ms int8 NOT NULL, cpu_us int8 NOT NULL, peak int8 NOT NULL, ran int8[] NOT NULL,
  waited int8[] NOT NULL, queued int8 NOT NULL, PRIMARY KEY(grain, code, step, shard))
  WITH (fillfactor = 70);
CREATE TABLE usage_day(shard int2 NOT NULL, code int4 NOT NULL, day int8 NOT NULL, attempts int8 NOT NULL,
  wall_ms int8 NOT NULL, cpu_us int8 NOT NULL, peak int8 NOT NULL, PRIMARY KEY(code, day, shard))
  WITH (fillfactor = 50);
CREATE TABLE usage_schedule(shard int2 NOT NULL, code int4 NOT NULL, day int8 NOT NULL, schedule bytea NOT NULL,
  attempts int8 NOT NULL, wall_ms int8 NOT NULL, cpu_us int8 NOT NULL, peak int8 NOT NULL,
  PRIMARY KEY(code, day, schedule, shard))
  WITH (fillfactor = 50);

-- The lane that a task of a package goes to. One of its own that is not there yet is made by whoever first has to look
-- at it; until then the shared one will do.
CREATE FUNCTION lane_for(in_cluster int4, of_code int4) RETURNS int4 LANGUAGE sql STABLE
  AS 'SELECT l.id FROM code k JOIN lane l ON l.cluster = in_cluster AND l.needs = k.needs
        AND (l.code = 0 OR (k.has_own_lane AND l.code = k.num))
      WHERE k.num = of_code ORDER BY l.code DESC LIMIT 1';

-- The days that there are tables for.
CREATE TABLE partition(day int8 PRIMARY KEY);

-- Sums stop at the greatest number there is: a runner may report anything.
CREATE FUNCTION plus(a int8, b int8) RETURNS int8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS 'SELECT least(a::numeric + b, 9223372036854775807)::int8';
CREATE FUNCTION plus(a int8[], b int8[]) RETURNS int8[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS 'SELECT coalesce(array_agg(coalesce(x, 0) + coalesce(y, 0) ORDER BY at), ''{}'')
      FROM unnest(a, b) WITH ORDINALITY AS t(x, y, at)';
