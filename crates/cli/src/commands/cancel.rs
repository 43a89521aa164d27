//! `windlass cancel`.

use clap::Args;
use windlass_model::id::TaskId;

use super::tasks::Filters;
use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};

/// Cancels tasks. One that is queued ends at once; one that is running is asked to end, and killed if it does not.
/// One that has ended stays as it is.
#[derive(Args, Debug)]
pub(crate) struct Cancel {
    /// These tasks
    ids: Vec<TaskId>,

    /// Every task that the filters match; with --code and nothing else, every one of that worker that has not ended
    #[arg(long, conflicts_with = "ids")]
    all: bool,

    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    connection: Connection,
}

impl Cancel {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let output = self.connection.output();
        let client = self.connection.client()?;
        if self.all {
            if self.filters.is_empty() {
                return Err(Failure::usage(
                    "cancel --all needs a filter, such as --code NAME or --status queued",
                ));
            }
            let done = client.cancel_matching(&self.filters.to_filter()).await.doing("cancel tasks")?;
            if output.json {
                output.json(&serde_json::json!({ "msg": "Cancelled", "cancelled": done }))?;
            } else {
                let noun = if done == 1 { "task" } else { "tasks" };
                output.line(&format!("cancelled {done} {noun}"))?;
            }
            return Ok(0);
        }
        if self.ids.is_empty() {
            return Err(Failure::usage(
                "cancel what? name tasks, or --all with a filter such as --code NAME",
            ));
        }
        for id in &self.ids {
            client.cancel(*id).await.doing(format_args!("cancel task {id}"))?;
            if !output.json {
                output.line(&format!("cancelled {id}"))?;
            }
        }
        if output.json {
            output.json(&serde_json::json!({ "msg": "Cancelled" }))?;
        }
        Ok(0)
    }
}
