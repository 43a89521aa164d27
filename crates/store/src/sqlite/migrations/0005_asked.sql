-- What a request with a key asked for, as a hash. Keys are kept for a day: those from before are forgotten.
DROP TABLE queue_key;
CREATE TABLE queue_key(project INT NOT NULL, key TEXT NOT NULL, at INT NOT NULL, asked BLOB NOT NULL, ids BLOB NOT NULL,
  PRIMARY KEY(project, key)) WITHOUT ROWID;
CREATE INDEX queue_key_age ON queue_key(at);
