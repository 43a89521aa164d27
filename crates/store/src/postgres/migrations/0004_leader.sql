-- Servers that have the database open, and which of them leads. Times are those of the database. Binaries that do not
-- know of it do every duty by themselves, as they did before: duties change only what is still to be done.
-- compatible: 1
CREATE TABLE leader(one bool PRIMARY KEY CHECK (one), holder int8 NOT NULL, term int8 NOT NULL, until timestamptz NOT NULL);
INSERT INTO leader(one, holder, term, until) VALUES (true, 0, 0, 'epoch');
CREATE TABLE peer(server int8 PRIMARY KEY, url text NOT NULL, until timestamptz NOT NULL);
