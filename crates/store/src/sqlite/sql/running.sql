-- Every running attempt: at most as many as runners have slots.
SELECT seq, run_at, attempts, retries, losses, started, updated, percent, msg, runner, log_size, cancel_requested,
  fence, tag, lane, prank, max_retries, retry_delay, schedule
FROM running
