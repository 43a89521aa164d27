//! `windlass usage`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use windlass_model::time::Timestamp;
use windlass_model::usage::UsageBy;
use windlass_model::wire::usage::{UsageRow, UsageSum};

use super::tasks::instant;
use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::Table;
use crate::output::when;

/// Shows the compute time that tasks took: attempts, wall time, processor time, peak memory. Columns where standard
/// output is not a terminal: what it is of, attempts, both times in milliseconds, bytes.
#[derive(Args, Debug)]
pub(crate) struct Usage {
    /// One line for each of these
    #[arg(long, value_enum, default_value = "code")]
    by: By,

    /// Ended since: a time ago such as 30d, or an instant; to the day, in UTC
    #[arg(long, value_name = "TIME", value_parser = instant, default_value = "7d")]
    since: Timestamp,

    /// Ended until, likewise; now if absent
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Each worker
    Code,
    /// Each schedule, of the tasks that it made
    Schedule,
    /// Each day
    Day,
}

impl Usage {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let (client, output) = (self.connection.client()?, self.connection.output());
        let (by, head) = match self.by {
            By::Code => (UsageBy::Code, &["WORKER", "ATTEMPTS", "WALL", "CPU", "PEAK MEMORY"]),
            By::Schedule => (UsageBy::Schedule, &["SCHEDULE", "ATTEMPTS", "WALL", "CPU", "PEAK MEMORY"]),
            By::Day => (UsageBy::Day, &["DAY", "ATTEMPTS", "WALL", "CPU", "PEAK MEMORY"]),
        };
        let report = client.usage(by, Some(self.since), self.until).await.doing("read the compute time")?;
        if output.json {
            output.json(&report)?;
            return Ok(0);
        }
        let mut table = Table::new(head);
        let cells = |name: String, used: &UsageSum| match output.terminal {
            true => readable(name, used),
            false => plain(name, used),
        };
        for row in &report.usage {
            table.row(cells(name(row), &row.used));
        }
        if output.terminal && report.total.attempts > 0 {
            table.row(cells("all of the project".to_owned(), &report.total));
        }
        table.print(output, "no attempt has ended in this time")?;
        Ok(0)
    }
}

fn name(row: &UsageRow) -> String {
    let code = row.code_name.as_deref().unwrap_or_default();
    match (&row.day, row.schedule_id, row.schedule_name.as_deref()) {
        (Some(day), ..) => day.clone(),
        (None, None, _) => code.to_owned(),
        (None, Some(id), None | Some("")) => format!("{code}, {id}"),
        (None, Some(_), Some(name)) => format!("{code}, {name}"),
    }
}

fn readable(name: String, used: &UsageSum) -> [String; 5] {
    let ms = |ms| when::measured(Duration::from_millis(ms));
    let memory = when::size(used.peak_memory_bytes);
    [name, used.attempts.to_string(), ms(used.wall_ms), ms(used.cpu_ms), memory]
}

fn plain(name: String, used: &UsageSum) -> [String; 5] {
    let numbers = [used.attempts, used.wall_ms, used.cpu_ms, used.peak_memory_bytes];
    let [attempts, wall, cpu, memory] = numbers.map(|n| n.to_string());
    [name, attempts, wall, cpu, memory]
}
