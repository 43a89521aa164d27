//! Projects, tokens and clusters on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lenient::Text;
use crate::id::{ProjectId, TokenId};
use crate::isolation::Level;
use crate::project::TokenRecord;
use crate::time::Wire;

/// A project as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ProjectId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// `active`.
    pub status: String,
    /// Tasks ever queued in it that are still kept.
    pub task_count: u64,
    /// The weakest isolation that its tasks may run in: `process` (any), `namespaces`, `namespaces+cgroups-v1`,
    /// `namespaces+cgroups-v2`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub min_isolation: Level,
}

/// Answer of `GET /2/projects`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectList {
    /// Those that the token may see.
    pub projects: Vec<Project>,
}

/// Body of `POST /2/projects`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct ProjectRequest {
    /// What people will call it.
    #[schema(value_type = String)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub name: Text,
}

/// Body of `PATCH /2/projects/{project_id}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct ProjectChange {
    /// The weakest isolation that its tasks may run in: `process` (any), `namespaces`, `namespaces+cgroups-v1`,
    /// `namespaces+cgroups-v2`.
    #[schema(value_type = String)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub min_isolation: Text,
}

/// Body of `POST tokens`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct TokenRequest {
    /// What people will call it.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub name: Text,
    /// What it may do: queue, read, manage, runner, admin.
    pub scopes: Option<Vec<String>>,
    /// From when on it is refused; absent: never.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub expires_at: Text,
}

/// Answer of `POST tokens`: the only time that the token itself is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// `Created`.
    pub msg: String,
    /// The token: to be kept by whoever asked, it cannot be shown again.
    pub token: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub about: Token,
}

/// A token as it is shown: everything but the token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// The project it is limited to; absent: every project.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub project_id: Option<ProjectId>,
    /// The cluster that a runner with it must be of; absent: any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cluster: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// From when on it is refused.
    #[schema(value_type = String)]
    pub expires_at: Wire,
    /// When it was last accepted, to the minute.
    #[schema(value_type = String)]
    pub last_used_at: Wire,
}

impl Token {
    /// The token as it is shown.
    pub fn present(token: &TokenRecord) -> Self {
        Self {
            id: token.id,
            name: token.name.clone(),
            project_id: token.project,
            cluster: token.cluster.clone(),
            scopes: token.scopes.iter().map(ToString::to_string).collect(),
            created_at: token.created_at.into(),
            expires_at: Wire(token.expires_at),
            last_used_at: Wire(token.last_used_at),
        }
    }
}

/// Answer of `GET tokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// Newest first.
    pub tokens: Vec<Token>,
}

/// The credentials file that the first start writes and every client reads: `iron.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IronJson {
    /// The token.
    pub token: String,
    /// The project.
    pub project_id: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The same under the name that Python and PHP read.
    pub protocol: String,
    /// Where the server listens.
    pub host: String,
    /// A number, as Go reads it.
    pub port: u16,
    /// A string, as Go reads it.
    pub api_version: String,
    /// File of the certificates that clients need beside those that the system trusts. Only our own client reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}
