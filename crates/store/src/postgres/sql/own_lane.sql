-- Makes the lane of its own that a package has in a cluster, if it is to have one.
INSERT INTO lane(cluster, code, needs) SELECT $1, num, needs FROM code WHERE num = $2 AND has_own_lane
ON CONFLICT DO NOTHING
