-- Fails (division by zero) unless this process leads in this term, and keeps it from changing until the transaction
-- ends. Sent with the commit: so nobody can take over in between, and nobody who stalls before it keeps others waiting.
SELECT 1 / count(*) FROM (SELECT 1 FROM leader WHERE holder = $1 AND term = $2 FOR SHARE) l
