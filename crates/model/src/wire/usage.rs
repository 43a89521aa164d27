//! Compute time on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{CodeId, ScheduleId};
use crate::time::Wire;
use crate::usage::ComputeTime;

/// What attempts used together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageSum {
    /// How many there were, also those whose runner was lost.
    pub attempts: u64,
    /// Milliseconds from start to end of their processes.
    pub wall_ms: u64,
    /// Milliseconds of processor time, of user and system.
    pub cpu_ms: u64,
    /// The most that any one of their processes had resident.
    pub peak_memory_bytes: u64,
}

impl From<ComputeTime> for UsageSum {
    fn from(sum: ComputeTime) -> Self {
        let ComputeTime { attempts, wall_ms, cpu_us, peak_memory_bytes } = sum;
        Self { attempts, wall_ms, cpu_ms: cpu_us.saturating_add(500) / 1000, peak_memory_bytes }
    }
}

/// What one thing used: a package, a schedule or a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// The package.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub code_id: Option<CodeId>,
    /// Name of the package.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code_name: Option<String>,
    /// The schedule.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub schedule_id: Option<ScheduleId>,
    /// Name of the schedule; empty if it has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schedule_name: Option<String>,
    /// The day in UTC, such as `2026-01-31`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub day: Option<String>,
    /// What it used.
    #[serde(flatten)]
    pub used: UsageSum,
}

/// Answer of `GET usage`: of attempts that ended on these days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// `code`, `schedule` or `day`.
    pub by: String,
    /// Start of the first day.
    #[schema(value_type = String)]
    pub from: Wire,
    /// End of the last day.
    #[schema(value_type = String)]
    pub to: Wire,
    /// Days in their order; of packages and schedules those with the most wall time first, at most 1000.
    pub usage: Vec<UsageRow>,
    /// What all of the project used.
    pub total: UsageSum,
}
