-- What the attempts of this day's tasks used, by package and by the day that they ended on.
SELECT l.code, e.ended / 86400000, count(*), coalesce(sum(e.wall), 0), coalesce(sum(e.cpu), 0), coalesce(max(e.peak), 0)
FROM (SELECT seq, ended, wall, user + system AS cpu, peak FROM done_d{day} WHERE outcome IS NOT NULL
  UNION ALL SELECT seq, ended, wall, user + system, peak FROM attempt_d{day}) e
JOIN task_d{day} t ON t.seq = e.seq
JOIN lane l ON l.id = t.lane
GROUP BY 1, 2
