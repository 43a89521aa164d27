-- Everything of one day goes, and its pages are free for the next.
DROP TABLE task_d{day};
DROP TABLE payload_d{day};
DROP TABLE done_d{day};
DROP TABLE attempt_d{day};
DROP TABLE result_d{day};
