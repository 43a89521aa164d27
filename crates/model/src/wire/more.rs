//! Runners and clusters as operators and clients read them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::runner::{HostLoad, RunnerRecord};
use crate::time::Wire;

/// A runner as operators read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Runner {
    /// Its session.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The tasks it takes.
    pub cluster: String,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Tasks it runs now.
    pub running: u32,
    /// `live`, `draining` or `gone`.
    pub status: String,
    /// Free text.
    pub labels: Vec<String>,
    /// Version of its binary.
    pub version: String,
    /// How it isolates tasks.
    #[schema(value_type = Object)]
    pub isolation: crate::runner::Isolation,
    /// How busy its host is; none: it has not said so lately.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<HostLoad>,
    /// When it registered.
    #[schema(value_type = String)]
    pub started_at: Wire,
    /// When it was last heard.
    #[schema(value_type = String)]
    pub seen_at: Wire,
}

impl Runner {
    /// The runner as operators read it, with the number of tasks it runs now and what it last said of its host.
    pub fn present(record: &RunnerRecord, running: u32, load: Option<HostLoad>) -> Self {
        let status = match record {
            RunnerRecord { gone_at: Some(_), .. } => "gone",
            RunnerRecord { is_draining: true, .. } => "draining",
            _ => "live",
        };
        Self {
            id: record.id.to_string(),
            name: record.about.name.clone(),
            cluster: record.about.cluster.clone(),
            slots: record.about.slots,
            running,
            status: status.to_owned(),
            labels: record.about.labels.clone(),
            version: record.about.version.clone(),
            isolation: record.about.isolation.clone(),
            load,
            started_at: record.started_at.into(),
            seen_at: record.seen_at.into(),
        }
    }
}

/// Answer of `GET /2/runners`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunnerList {
    /// Live ones first, newest first.
    pub runners: Vec<Runner>,
}
