-- Gives back slots, in the order that they come in.
UPDATE slot s SET running = s.running - g.n
FROM unnest($1::int4[], $2::int4[]) AS g(code, n) WHERE s.code = g.code
