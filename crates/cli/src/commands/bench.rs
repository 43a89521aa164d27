//! `windlass bench`.

use clap::Args;

use crate::bench::{self, Effort, Part};
use crate::failure::Failure;
use crate::output::{Output, note};

/// Measures what this machine can do with Windlass, each figure beside the bare limit of the machine in the same run.
/// Starts servers of its own with their data in a folder here, which is removed at the end. Takes some minutes; run it
/// on a quiet machine.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    /// Runs of each figure; the median is reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    runs: u8,

    /// Tasks queued, and as many finished, in the full store
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    seed: usize,

    /// A short look that proves nothing: one run, a small store
    #[arg(long, conflicts_with_all = ["runs", "seed"])]
    quick: bool,

    /// Measure servers on PostgreSQL: "postgres" starts one for the time, from Debian's programs; or the address of an
    /// empty database
    #[arg(long, value_name = "URL")]
    store: Option<String>,

    /// What of them to measure
    #[arg(long, value_enum, default_value = "rates", requires = "store")]
    part: Part,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let effort =
            if self.quick { Effort::quick() } else { Effort::full(usize::from(self.runs), self.seed) };
        let say = |doing: &str| note(format_args!("bench: {doing}"));
        let report = match &self.store {
            Some(store) => bench::run_on_postgres(store, self.part, effort, self.json, say).await,
            None => bench::run(effort, self.json, say).await,
        };
        let report = report.map_err(|e| Failure::new(format_args!("the benchmark failed: {e:#}")))?;
        Output::new(self.json).line(&report)?;
        Ok(0)
    }
}

/// Serves the bare handler until the process ends.
pub(crate) async fn serve_parser() -> Result<u8, Failure> {
    bench::serve_parser().await.map_err(|e| Failure::new(format_args!("the bare handler failed: {e:#}")))?;
    Ok(0)
}
