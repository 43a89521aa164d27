//! `windlass logs`.

use clap::Args;
use windlass_client::Client;
use windlass_client::logs::LogEvent;
use windlass_model::id::TaskId;
use windlass_model::log::Stream;

use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::{Output, note};

/// Shows the log of a task: what it wrote to standard output and error, to the byte.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// The task
    id: TaskId,

    /// As it is written, until the task has ended; over retries, too, unless --attempt names one
    #[arg(short, long)]
    follow: bool,

    /// Of this attempt, 1 for the first [default: the newest that has a log]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,

    #[command(flatten)]
    connection: Connection,
}

impl Logs {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let output = self.connection.output();
        let client = self.connection.client()?;
        if self.follow {
            follow(&client, output, self.id, self.attempt).await?;
            return Ok(0);
        }
        let log =
            client.log(self.id, self.attempt).await.doing(format_args!("read the log of {}", self.id))?;
        match log {
            Some(log) if output.json => {
                let log = String::from_utf8_lossy(&log);
                output.json(&serde_json::json!({ "id": self.id, "log": log }))?;
            }
            Some(log) => output.bytes(&log)?,
            None => {
                return Err(Failure::new(format_args!("task {} has no log yet", self.id))
                    .fix("`windlass logs -f` waits for it; `windlass task` says why it is not running"));
            }
        }
        Ok(0)
    }
}

/// Prints a log as it is written: of one attempt if it is named, else of all from the first.
///
/// Standard error of the task goes to standard error; with JSON, each chunk is a line on standard output.
pub(super) async fn follow(
    client: &Client,
    output: Output,
    id: TaskId,
    attempt: Option<u32>,
) -> Result<(), Failure> {
    let mut current = attempt.unwrap_or(1);
    loop {
        let mut log = client.follow_log(id, current);
        let mut is_final = true;
        while let Some(event) = log.next().await.doing(format_args!("follow the log of {id}"))? {
            match event {
                LogEvent::Chunk(chunk) if output.json => {
                    let line = serde_json::to_string(&chunk).map_err(Failure::new)?;
                    output.line(&line)?;
                }
                LogEvent::Chunk(chunk) if chunk.stream == Stream::Stdout => output.bytes(&chunk.data.0)?,
                LogEvent::Chunk(chunk) => {
                    use std::io::Write as _;
                    std::io::stderr().write_all(&chunk.data.0)?;
                }
                LogEvent::End { status } => is_final = status.is_final(),
            }
        }
        if is_final || attempt.is_some() {
            return Ok(());
        }
        if !output.json {
            note(format_args!("attempt {current} ended, it will run again"));
        }
        current += 1;
    }
}
