-- Tasks by package, cluster and status, of these packages.
SELECT code, cluster, status, sum(n)::int8 FROM counter WHERE $1::int4[] IS NULL OR code = ANY($1)
GROUP BY code, cluster, status HAVING sum(n) <> 0
