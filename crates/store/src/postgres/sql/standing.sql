-- Which of these tasks are there, and the final status of those that have ended.
SELECT t.seq, t.tag, d.status FROM unnest($1::int8[]) AS k(seq) JOIN task_d{day} t ON t.seq = k.seq
LEFT JOIN done_d{day} d ON d.seq = t.seq
