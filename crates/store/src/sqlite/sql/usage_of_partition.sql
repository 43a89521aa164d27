-- What each attempt of this day's tasks used, with its package and the day that it ended on.
SELECT l.code, e.ended / 86400000, 1, coalesce(e.wall, 0), coalesce(e.cpu, 0), coalesce(e.peak, 0)
FROM (SELECT seq, ended, wall, user + system AS cpu, peak FROM done_d{day} WHERE outcome IS NOT NULL
  UNION ALL SELECT seq, ended, wall, user + system, peak FROM attempt_d{day}) e
JOIN task_d{day} t ON t.seq = e.seq
JOIN lane l ON l.id = t.lane
