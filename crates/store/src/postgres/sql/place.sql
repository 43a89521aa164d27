-- Puts tasks into the lanes that their packages go to now.
INSERT INTO ready(lane, prank, seq, code)
SELECT lane_for(i.cluster, i.code), i.prank, i.seq, i.code
FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::int2[]) AS i(seq, code, cluster, prank)
