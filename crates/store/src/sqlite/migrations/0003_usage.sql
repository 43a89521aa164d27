-- Sums that outlive the tasks they are of. Histograms are in the few bytes that the model makes of them.
CREATE TABLE usage_minute(code INT NOT NULL, minute INT NOT NULL, complete INT NOT NULL, error INT NOT NULL,
  timeout INT NOT NULL, cancelled INT NOT NULL, killed INT NOT NULL, attempts INT NOT NULL, wall_ms INT NOT NULL,
  cpu_us INT NOT NULL, peak INT NOT NULL, ran BLOB NOT NULL, waited BLOB NOT NULL,
  PRIMARY KEY(code, minute)) WITHOUT ROWID;
CREATE TABLE usage_day(code INT NOT NULL, day INT NOT NULL, attempts INT NOT NULL, wall_ms INT NOT NULL,
  cpu_us INT NOT NULL, peak INT NOT NULL, PRIMARY KEY(code, day)) WITHOUT ROWID;
CREATE TABLE usage_schedule(code INT NOT NULL, day INT NOT NULL, schedule BLOB NOT NULL, attempts INT NOT NULL,
  wall_ms INT NOT NULL, cpu_us INT NOT NULL, peak INT NOT NULL, PRIMARY KEY(code, day, schedule)) WITHOUT ROWID;

-- It held the counts only.
INSERT INTO usage_minute
SELECT code, minute, total(n) FILTER (WHERE status = 3), total(n) FILTER (WHERE status = 4),
  total(n) FILTER (WHERE status = 5), total(n) FILTER (WHERE status = 6), total(n) FILTER (WHERE status = 7),
  0, 0, 0, 0, x'', x''
FROM ended GROUP BY code, minute;
DROP TABLE ended;

-- Which schedule made the task, so that its end need not look.
ALTER TABLE running ADD COLUMN schedule BLOB;
