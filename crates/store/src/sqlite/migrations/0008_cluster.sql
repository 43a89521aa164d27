-- Clusters of runners that somebody created. Tasks name them, and need not wait for it.
CREATE TABLE cluster(seq INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, data TEXT NOT NULL);
