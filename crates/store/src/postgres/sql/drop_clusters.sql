-- Forgets clusters that no task is in, and that no server has used since $1. Clients name them, so there may be many.
DELETE FROM cluster c WHERE c.used_at < $1
  AND NOT EXISTS (SELECT 1 FROM counter n WHERE n.cluster = c.num GROUP BY n.code, n.status HAVING sum(n.n) <> 0)
