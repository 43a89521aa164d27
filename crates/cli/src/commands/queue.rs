//! `windlass queue`.

use std::io::Read as _;

use clap::Args;
use windlass_client::Client;
use windlass_model::id::TaskId;
use windlass_model::task::Status;
use windlass_model::wire::lenient::Payload;
use windlass_model::wire::tasks::{Queued, TaskRef, TaskRequest};

use super::logs;
use super::upload::{number, text};
use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::{Output, note, progress, table, when};
use crate::settings::units;

/// Queues tasks for a worker. They are kept when this returns.
#[derive(Args, Debug)]
pub(crate) struct Queue {
    /// The worker's name
    name: String,

    /// What it gets: text, @FILE, or - for standard input
    #[arg(short, long, value_name = "TEXT|@FILE|-", default_value = "", allow_hyphen_values = true)]
    payload: String,

    /// Not before this time has passed, such as 10m
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    delay: Option<std::time::Duration>,

    /// 0, 1 or 2, which runs first [default: the worker's]
    #[arg(long, value_name = "0-2", value_parser = clap::value_parser!(u8).range(0..=2))]
    priority: Option<u8>,

    /// Longest time one attempt may run, such as 90s [default: the server's]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<std::time::Duration>,

    /// Runs after a failure [default: the worker's]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,

    /// Free text to find it by
    #[arg(long)]
    label: Option<String>,

    /// Only on runners of this cluster
    #[arg(long)]
    cluster: Option<String>,

    /// Queue only once for this key, however often this is run; any text that is yours alone
    #[arg(long)]
    key: Option<String>,

    /// How many such tasks
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// Wait until they have ended, follow the log of a single one, and exit with its outcome
    #[arg(short, long)]
    wait: bool,

    #[command(flatten)]
    connection: Connection,
}

/// Exit code of a wait that a person gave up, as a shell has it.
const INTERRUPTED: u8 = 130;

/// Tasks in one request: well below what a server takes.
const PER_REQUEST: usize = 1000;

impl Queue {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let output = self.connection.output();
        let client = self.connection.client()?;
        let request = self.request()?;
        let key = self.key.clone().or_else(fresh_key);
        let mut ids = Vec::with_capacity(self.count as usize);
        while ids.len() < self.count as usize {
            let batch = vec![request.clone(); PER_REQUEST.min(self.count as usize - ids.len())];
            // Each request of many has a key of its own.
            let key = key
                .as_ref()
                .map(|key| if ids.is_empty() { key.clone() } else { format!("{key}/{}", ids.len()) });
            ids.extend(
                client
                    .queue(batch, key.as_deref())
                    .await
                    .doing(format_args!("queue a task of {}", self.name))?,
            );
        }
        if self.wait {
            let waiting = async {
                match ids.as_slice() {
                    [id] => follow(&client, output, *id).await,
                    ids => wait_for_all(&client, output, ids).await,
                }
            };
            return tokio::select! {
                code = waiting => code,
                _ = tokio::signal::ctrl_c() => {
                    let first = ids[0];
                    note(format_args!("no longer waiting; what was queued goes on. `windlass logs -f {first}` follows it, `windlass cancel {first}` ends it"));
                    Ok(INTERRUPTED)
                }
            };
        }
        print_queued(output, &ids)?;
        Ok(0)
    }

    fn request(&self) -> Result<TaskRequest, Failure> {
        Ok(TaskRequest {
            code_name: self.name.as_str().into(),
            payload: payload(&self.payload)?,
            priority: number(self.priority),
            timeout: number(self.timeout.map(|t| t.as_secs_f64())),
            delay: number(self.delay.map(|t| t.as_secs_f64())),
            cluster: text(self.cluster.clone()),
            label: text(self.label.clone()),
            retries: number(self.retries),
            ..TaskRequest::default()
        })
    }
}

/// A key that nobody else has: with it, a request that broke off can be repeated.
fn fresh_key() -> Option<String> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").ok()?;
    Some(uuid.trim().to_owned())
}

/// Prints the ids of new tasks, as the API does or a line each.
pub(super) fn print_queued(output: Output, ids: &[TaskId]) -> Result<(), Failure> {
    if output.json {
        let tasks = ids.iter().map(|&id| TaskRef { id }).collect();
        return output.json(&Queued { msg: "Queued up".to_owned(), tasks });
    }
    let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
    output.bytes(lines.as_bytes())
}

/// The payload that an argument names: text, `@FILE`, or `-` for standard input.
pub(super) fn payload(argument: &str) -> Result<Payload, Failure> {
    let (bytes, from) = match argument.strip_prefix('@') {
        Some(path) => (std::fs::read(path).doing(format_args!("read the payload from {path}"))?, path),
        None if argument == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).doing("read the payload from standard input")?;
            (bytes, "standard input")
        }
        None => return Ok(argument.into()),
    };
    if std::str::from_utf8(&bytes).is_err() {
        return Err(Failure::new(format_args!("the payload from {from} is not text"))
            .fix("a payload travels in JSON: encode it, in base64 for example"));
    }
    Ok(bytes.into())
}

/// The exit code that stands for how a task ended.
pub(crate) fn exit_code(status: Status) -> u8 {
    match status {
        Status::Complete => 0,
        Status::Timeout => 3,
        Status::Cancelled => 4,
        Status::Killed => 5,
        Status::Error | Status::Queued | Status::Preparing | Status::Running => 1,
    }
}

async fn follow(client: &Client, output: Output, id: TaskId) -> Result<u8, Failure> {
    if !output.json {
        note(format_args!("queued {id}"));
        let following = logs::follow(client, output, id, None);
        tokio::pin!(following);
        tokio::select! {
            done = &mut following => done?,
            () = say_why_not(client, id) => following.await?,
        }
    }
    let task = client.wait(id, None).await.doing(format_args!("wait for task {id}"))?;
    if output.json {
        output.json(&task)?;
    } else {
        let took = when::measured(std::time::Duration::from_millis(task.duration.max(0) as u64));
        let msg = table::last_line(&task.msg);
        let why = if msg.is_empty() { String::new() } else { format!(": {msg}") };
        note(format_args!("{} after {took}{why}", task.status));
    }
    Ok(exit_code(task.status))
}

/// A wait without a word makes people wonder.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// After a while, says why the task is not running, if it is not.
async fn say_why_not(client: &Client, id: TaskId) {
    tokio::time::sleep(SILENCE).await;
    // Only a comment: whatever is wrong shows where the log is followed.
    if let Ok(why) = client.explain(id).await
        && why.status == Status::Queued
    {
        note(format_args!("waiting: {}", why.explain));
    }
}

/// Waits for each in turn: they end in about the order they were queued in.
async fn wait_for_all(client: &Client, output: Output, ids: &[TaskId]) -> Result<u8, Failure> {
    let bar = progress::count(ids.len() as u64, "ended");
    let mut tasks = Vec::with_capacity(ids.len());
    for id in ids {
        tasks.push(client.wait(*id, None).await.doing(format_args!("wait for task {id}"))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if output.json {
        output.json(&serde_json::json!({ "tasks": tasks }))?;
    } else {
        let lines: String =
            tasks.iter().map(|t| format!("{}\t{}\t{}\n", t.id, t.status, table::last_line(&t.msg))).collect();
        output.bytes(lines.as_bytes())?;
    }
    Ok(tasks.iter().map(|t| exit_code(t.status)).find(|code| *code != 0).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_text_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::write(&path, "from file").unwrap();
        assert_eq!(payload("{\"a\":1}").unwrap().0, b"{\"a\":1}");
        assert_eq!(payload(&format!("@{}", path.display())).unwrap().0, b"from file");
        std::fs::write(&path, [0xff]).unwrap();
        let problem = payload(&format!("@{}", path.display())).unwrap_err().to_string();
        assert!(problem.contains("is not text") && problem.contains("fix:"), "{problem}");
    }
}
