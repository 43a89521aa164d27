//! What a worker's tasks may take, as flags.

use clap::Args;
use windlass_model::limits::{Limits, Network, Wishes};
use windlass_model::size;
use windlass_model::wire;
use windlass_model::wire::codes::UploadRequest;
use windlass_model::wire::lenient::Text;
use windlass_model::wire::limits::LimitsView;

use super::upload::{number, text};
use crate::failure::Failure;
use crate::settings::units;

/// What a worker's tasks may take.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What its tasks may take (0 or `default`: the default)")]
pub(super) struct LimitFlags {
    /// Memory of all processes of a task, such as 512M
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    memory: Option<u64>,

    /// Processors that a task may keep busy, such as 0.5
    #[arg(long, value_name = "N")]
    cpu: Option<f64>,

    /// Processes and threads of a task
    #[arg(long, value_name = "N")]
    pids: Option<u32>,

    /// What a task may write to files, such as 1G
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    disk: Option<u64>,

    /// Files that a process of a task may have open
    #[arg(long, value_name = "N")]
    open_files: Option<u32>,

    /// Output of a task that is kept, such as 4M; of more, the middle is left out
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    output_limit: Option<u64>,

    /// Whom a task may talk to: egress (the internet and the API), none, or host
    #[arg(long, value_name = "WHOM")]
    network: Option<String>,
}

impl LimitFlags {
    /// The request with what the flags say.
    pub(super) fn add_to(&self, request: UploadRequest) -> UploadRequest {
        let bytes = |size: Option<u64>| size.map_or(Text::Unset, |size| Text::Is(size.to_string()));
        UploadRequest {
            memory: bytes(self.memory),
            cpu: number(self.cpu),
            pids: number(self.pids),
            disk: bytes(self.disk),
            open_files: number(self.open_files),
            output: bytes(self.output_limit),
            network: text(self.network.clone()),
            ..request
        }
    }

    /// What a task has that runs here, by the settings of this machine.
    pub(super) fn resolve(&self, settings: &wire::Limits) -> Result<(Limits, Network), Failure> {
        let request = UploadRequest { name: "run".into(), ..UploadRequest::default() };
        let order = self.add_to(request).validate(settings).map_err(|bad| {
            Failure::usage(format_args!("--{bad}", bad = bad.to_string().replacen('_', "-", 1)))
        })?;
        let wishes = Wishes::default().changed(&order.limits);
        Ok((settings.attempts.limits(&wishes), settings.attempts.network(&wishes)))
    }
}

/// The limits in words.
pub(super) fn describe(limits: &LimitsView) -> String {
    format!(
        "{} memory, {} cpu, {} pids, {} disk, {} open files, {} output",
        size::show(limits.memory),
        limits.cpu,
        limits.pids,
        size::show(limits.disk),
        limits.open_files,
        size::show(limits.output),
    )
}
