//! `windlass retry`.

use clap::Args;
use windlass_model::id::TaskId;

use super::queue::print_queued;
use super::tasks::Filters;
use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::note;
use crate::settings::units;

/// Queues new tasks like old ones: the same payload and options, in the newest revision of the worker.
#[derive(Args, Debug)]
pub(crate) struct Retry {
    /// Like these tasks
    ids: Vec<TaskId>,

    /// Like every task that the filters match, such as --code NAME --status error
    #[arg(long, conflicts_with = "ids")]
    all: bool,

    /// Not before this time has passed
    #[arg(long, value_name = "TIME", value_parser = units::duration, conflicts_with = "all")]
    delay: Option<std::time::Duration>,

    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    connection: Connection,
}

impl Retry {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let output = self.connection.output();
        let client = self.connection.client()?;
        if self.all {
            if self.filters.is_empty() {
                return Err(Failure::usage("retry --all needs a filter, such as --status error"));
            }
            let new = client.retry_matching(&self.filters.to_filter()).await.doing("retry tasks")?;
            print_queued(output, &new)?;
            if output.terminal && !output.json {
                note(format_args!("queued {} tasks", new.len()));
            }
            return Ok(0);
        }
        if self.ids.is_empty() {
            return Err(Failure::usage(
                "retry what? name tasks, or --all with a filter such as --status error",
            ));
        }
        let mut new = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            new.push(client.retry(*id, self.delay).await.doing(format_args!("retry task {id}"))?);
        }
        print_queued(output, &new)?;
        Ok(0)
    }
}
