-- Sums over time in steps of one minute and of fifteen, by `grain`, and by how much the queue changed in each. What the
-- quarters before had is known but for the histograms, which SQL cannot add.
CREATE TABLE rollup(grain INT NOT NULL, code INT NOT NULL, step INT NOT NULL, complete INT NOT NULL, error INT NOT NULL,
  timeout INT NOT NULL, cancelled INT NOT NULL, killed INT NOT NULL, attempts INT NOT NULL, wall_ms INT NOT NULL,
  cpu_us INT NOT NULL, peak INT NOT NULL, ran BLOB NOT NULL, waited BLOB NOT NULL, queued INT NOT NULL,
  PRIMARY KEY(grain, code, step)) WITHOUT ROWID;
INSERT INTO rollup
SELECT 1, code, minute, complete, error, timeout, cancelled, killed, attempts, wall_ms, cpu_us, peak, ran, waited, 0
FROM usage_minute;
INSERT INTO rollup
SELECT 15, code, minute / 15, sum(complete), sum(error), sum(timeout), sum(cancelled), sum(killed), sum(attempts),
  CAST(total(wall_ms) AS INTEGER), CAST(total(cpu_us) AS INTEGER), max(peak), x'', x'', 0
FROM usage_minute GROUP BY code, minute / 15;
DROP TABLE usage_minute;
