//! `windlass tasks`.

use clap::{Args, ValueEnum};
use windlass_client::TaskFilter;
use windlass_model::id::{ScheduleId, TaskId};
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::wire::tasks::{Task, TaskList};

use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::{self, Table};
use crate::output::{note, when};
use crate::settings::units;

/// Which tasks; everything that is given must hold.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filters {
    /// Of this worker
    #[arg(long, value_name = "NAME")]
    pub(crate) code: Option<String>,

    /// In this status; several add up
    #[arg(short, long, value_enum)]
    pub(crate) status: Vec<WhichStatus>,

    /// With this label
    #[arg(long)]
    pub(crate) label: Option<String>,

    /// For this cluster
    #[arg(long)]
    pub(crate) cluster: Option<String>,

    /// Made by this schedule
    #[arg(long, value_name = "ID")]
    pub(crate) schedule: Option<ScheduleId>,

    /// Queued by the worker of this task
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<TaskId>,

    /// Created since: a time ago such as 2h, or an instant such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) since: Option<Timestamp>,

    /// Created until, likewise
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<Timestamp>,
}

/// A status, as an argument.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhichStatus {
    Queued,
    Preparing,
    Running,
    Complete,
    Error,
    Timeout,
    Cancelled,
    Killed,
}

impl From<WhichStatus> for Status {
    fn from(which: WhichStatus) -> Status {
        match which {
            WhichStatus::Queued => Status::Queued,
            WhichStatus::Preparing => Status::Preparing,
            WhichStatus::Running => Status::Running,
            WhichStatus::Complete => Status::Complete,
            WhichStatus::Error => Status::Error,
            WhichStatus::Timeout => Status::Timeout,
            WhichStatus::Cancelled => Status::Cancelled,
            WhichStatus::Killed => Status::Killed,
        }
    }
}

/// Lists tasks, newest first. Columns where standard output is not a terminal: id, status, worker, created, duration
/// in milliseconds, label, message.
#[derive(Args, Debug)]
pub(crate) struct Tasks {
    #[command(flatten)]
    filters: Filters,

    /// How many to show
    #[arg(short = 'n', long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Go on after this page; the page before ends with how
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    connection: Connection,
}

/// Most rows that the API gives at once.
const PER_CALL: u32 = 100;

impl Filters {
    /// Whether anything is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.to_filter() == TaskFilter::default()
    }

    /// As the client knows them.
    pub(crate) fn to_filter(&self) -> TaskFilter {
        TaskFilter {
            code_name: self.code.clone(),
            statuses: self.status.iter().map(|&s| s.into()).collect(),
            label: self.label.clone(),
            cluster: self.cluster.clone(),
            schedule: self.schedule,
            parent: self.parent,
            from: self.since,
            to: self.until,
        }
    }
}

impl Tasks {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let output = self.connection.output();
        let client = self.connection.client()?;
        let filter = self.filters.to_filter();
        let mut found = TaskList { tasks: Vec::new(), cursor: self.cursor };
        loop {
            let left = self.limit - found.tasks.len() as u32;
            let page = client.tasks(&filter, Some(left.min(PER_CALL)), found.cursor.as_deref()).await;
            let page = page.doing("list tasks")?;
            let is_over = page.tasks.is_empty();
            found.tasks.extend(page.tasks);
            found.cursor = page.cursor;
            if is_over || found.cursor.is_none() || found.tasks.len() as u32 >= self.limit {
                break;
            }
        }
        if output.json {
            output.json(&found)?;
            return Ok(0);
        }
        let now = when::now();
        let mut rows = Table::new(&["ID", "STATUS", "WORKER", "CREATED", "TOOK", "LABEL", "MESSAGE"]);
        for task in &found.tasks {
            rows.row(row(task, now, output.terminal));
        }
        rows.print(output, "no tasks")?;
        if let (true, Some(cursor)) = (output.terminal, &found.cursor) {
            note(format_args!("more: add --cursor {cursor}"));
        }
        Ok(0)
    }
}

fn row(task: &Task, now: Timestamp, terminal: bool) -> [String; 7] {
    let took = task.duration.max(0) as u64;
    let (created, took) = if terminal {
        let took = if task.duration > 0 {
            when::measured(std::time::Duration::from_millis(took))
        } else {
            String::new()
        };
        (when::relative(task.created_at, now), took)
    } else {
        (task.created_at.0.map_or_else(String::new, |t| t.to_string()), took.to_string())
    };
    let status = match task.run_at {
        Some(at) if terminal && task.status == Status::Queued => {
            format!("queued, due {}", when::relative(at, now))
        }
        _ => task.status.to_string(),
    };
    let (label, msg) = (task.label.clone(), table::last_line(&task.msg));
    [task.id.to_string(), status, task.code_name.clone(), created, took, label, msg]
}

/// An instant, or a time before now.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    match units::duration(text) {
        Ok(ago) => Ok(when::now() - ago),
        Err(_) => text.parse().map_err(|_| {
            format!("{text:?} is neither a time such as 2h nor an instant such as 2026-01-31T12:00:00Z")
        }),
    }
}
