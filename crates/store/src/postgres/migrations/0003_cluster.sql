-- Clusters of runners that somebody created; `cluster` has the names that tasks go by, whoever made them up.
-- compatible: 1
CREATE TABLE runner_cluster(seq int8 PRIMARY KEY, name text NOT NULL UNIQUE, data text NOT NULL);
