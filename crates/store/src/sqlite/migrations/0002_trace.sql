-- The trace that a task belongs to.
ALTER TABLE task_d{day} ADD COLUMN trace BLOB;
