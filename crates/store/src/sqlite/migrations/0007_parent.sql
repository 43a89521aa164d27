-- What a task queued is asked for on its page. Few tasks have a parent: the others are not in the index.
CREATE INDEX task_d{day}_parent ON task_d{day}(parent, seq) WHERE parent IS NOT NULL;
