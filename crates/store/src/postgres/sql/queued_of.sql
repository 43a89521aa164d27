-- Up to $2 queued tasks of the package, in no order.
(SELECT seq FROM ready WHERE code = $1 LIMIT $2) UNION ALL (SELECT seq FROM delayed WHERE code = $1 LIMIT $2) LIMIT $2
