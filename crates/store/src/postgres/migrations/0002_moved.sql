-- How far another store was moved into this one, while that goes on: a row at the most.
-- compatible: 1
CREATE TABLE moved(part int8 NOT NULL, after int8 NOT NULL);
