-- The newest keys of the day below $2 and from $1 on with this label ($4), of this schedule ($5), queued by this task ($9),
-- of these packages ($6), with these statuses ($7). $8: of this cluster only.
SELECT t.seq FROM task_d{day} t
WHERE ($4::text IS NULL OR t.label = $4) AND ($5::bytea IS NULL OR t.schedule = $5)
  AND ($9::bytea IS NULL OR t.parent = $9) AND t.seq < $2 AND t.seq >= $1
  AND t.code = ANY($6::int4[]) AND ($8::int4 IS NULL OR t.cluster = $8)
  AND coalesce((SELECT d.status FROM done_d{day} d WHERE d.seq = t.seq),
    (SELECT 2::int2 FROM running r WHERE r.seq = t.seq), 0::int2) = ANY($7::int2[])
ORDER BY t.seq DESC LIMIT $3
