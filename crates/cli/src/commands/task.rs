//! `windlass task`.

use clap::Args;
use windlass_model::id::TaskId;
use windlass_model::task::Status;
use windlass_model::wire::tasks::{Attempt, Task as TaskView};

use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::{self, Table};
use crate::output::{Output, note, when};

/// Shows what is known of a task: facts, its attempts, and why it is not running if it is not.
#[derive(Args, Debug)]
pub(crate) struct Task {
    /// The task
    id: TaskId,

    /// Print its result instead, as its worker left it
    #[arg(long)]
    result: bool,

    /// Print its payload instead
    #[arg(long, conflicts_with = "result")]
    payload: bool,

    /// Wait until it has ended
    #[arg(short, long)]
    wait: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Task {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let output = self.connection.output();
        let client = self.connection.client()?;
        let doing = format!("show task {}", self.id);
        let task = if self.wait { client.wait(self.id, None).await } else { client.task(self.id).await };
        let task = task.doing(&doing)?;
        if self.result {
            let result = client.result(self.id).await.doing(&doing)?;
            let result = result.ok_or_else(|| {
                let failure =
                    Failure::new(format_args!("task {} left no result; it is {}", self.id, task.status));
                failure.fix("a worker leaves one by writing to the file that RESULT_FILE names")
            })?;
            output.bytes(&result)?;
            return Ok(0);
        }
        if self.payload {
            output.bytes(task.payload.as_bytes())?;
            return Ok(0);
        }
        let attempts = client.attempts(self.id).await.doing(&doing)?;
        let explain = match task.status {
            Status::Queued => Some(client.explain(self.id).await.doing(&doing)?),
            _ => None,
        };
        if output.json {
            let mut json = serde_json::to_value(&task).map_err(Failure::new)?;
            json["attempts"] = serde_json::to_value(&attempts).map_err(Failure::new)?;
            if let Some(explain) = explain {
                json["explain"] = serde_json::to_value(&explain).map_err(Failure::new)?;
            }
            output.json(&json)?;
            return Ok(0);
        }
        facts(&task).print(output, "")?;
        if let Some(explain) = explain {
            output.line(&format!("\nwhy it is not running: {}", explain.explain))?;
        }
        print_attempts(output, &attempts)?;
        Ok(0)
    }
}

fn facts(task: &TaskView) -> Table {
    let now = when::now();
    let mut table = Table::facts();
    let mut fact = |name: &str, value: String| table.fact(name, value);
    let cancelling = if task.cancel_requested && !task.status.is_final() { ", being cancelled" } else { "" };
    fact("id", task.id.to_string());
    fact("status", format!("{}{cancelling}", task.status));
    fact("message", table::last_line(&task.msg));
    fact("failure", task.error_class.clone().unwrap_or_default());
    fact("progress", if task.percent > 0 { format!("{} %", task.percent) } else { String::new() });
    fact("worker", format!("{} revision {}", task.code_name, task.code_rev));
    fact("created", when::absolute(task.created_at, now));
    fact("due", task.run_at.map_or_else(String::new, |at| when::absolute(at, now)));
    fact("started", when::absolute(task.start_time, now));
    fact("ended", when::absolute(task.end_time, now));
    if task.duration > 0 {
        fact("took", when::measured(std::time::Duration::from_millis(task.duration as u64)));
    }
    fact("retries", format!("{} of {}", task.retry_count, task.retries));
    fact("timeout", when::rough(std::time::Duration::from_secs(task.timeout.into())));
    fact("priority", task.priority.to_string());
    fact("cluster", task.cluster.clone());
    fact("label", task.label.clone());
    fact("schedule", task.schedule_id.map_or_else(String::new, |id| id.to_string()));
    fact("queued by", task.parent_id.map_or_else(String::new, |id| format!("task {id}")));
    fact("trace", task.trace.map_or_else(String::new, |trace| trace.to_string()));
    fact("retry of", task.retry_of.map_or_else(String::new, |id| format!("task {id}")));
    fact("log", if task.log_size > 0 { when::size(task.log_size) } else { String::new() });
    fact(
        "payload",
        match task.payload.len() {
            0 => String::new(),
            1..=200 => table::one_line(&task.payload),
            size => format!("{} (--payload prints it)", when::size(size as u64)),
        },
    );
    table
}

fn print_attempts(output: Output, attempts: &[Attempt]) -> Result<(), Failure> {
    if attempts.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let now = when::now();
    let head = &["ATTEMPT", "OUTCOME", "STARTED", "WALL", "CPU", "MEMORY", "LOG", "ISOLATION", "MESSAGE"];
    let mut table = Table::new(head);
    for a in attempts {
        let ms = std::time::Duration::from_millis;
        let [wall, cpu, memory] = a.usage.map_or_else(Default::default, |u| {
            let cpu = std::time::Duration::from_micros(u.user_us + u.system_us);
            [when::measured(ms(u.wall_ms)), when::measured(cpu), when::size(u.peak_memory_bytes)]
        });
        table.row([
            a.attempt.to_string(),
            a.outcome.clone(),
            when::relative(a.start_time, now),
            wall,
            cpu,
            memory,
            when::size(a.log_size),
            a.isolation.as_ref().map_or_else(String::new, |i| i.level.clone()),
            table::last_line(&a.msg),
        ]);
    }
    table.print(output, "")?;
    let last = attempts.iter().rev().find_map(|attempt| attempt.isolation.as_ref());
    for what in last.iter().flat_map(|isolation| &isolation.missing) {
        note(format_args!("the last attempt was missing isolation of {what}"));
    }
    Ok(())
}
