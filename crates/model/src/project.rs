//! Projects own codes, tasks and schedules; tokens say who may do what in them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ProjectId, TokenId};
use crate::isolation::Level;
use crate::secret::Sealed;
use crate::time::Timestamp;

/// The owner of codes, tasks and schedules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// What people call it; unique in no way.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The weakest isolation that its tasks may run in: no runner below gets any of them.
    #[serde(default)]
    pub min_isolation: Level,
    /// Logins to registries of container images, by the registry's name, as only a server can read them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registries: BTreeMap<String, Sealed>,
}

impl Project {
    /// Sets its login to a registry of images, or takes it away.
    pub fn set_registry(&mut self, registry: &str, login: Option<Sealed>) {
        match login {
            Some(login) => self.registries.insert(registry.to_owned(), login),
            None => self.registries.remove(registry),
        };
    }
}

/// What a token may do. Every route names the one it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Queue tasks, also by schedule, and report their progress.
    Queue,
    /// Read everything of the project.
    Read,
    /// Change everything of the project: codes, cancels, retries, schedules, its tokens.
    Manage,
    /// Act as a runner for every project.
    Runner,
    /// Everything, in every project: projects and tokens included.
    Admin,
}

impl Scope {
    /// Every scope, weakest first.
    pub const ALL: [Scope; 5] = [Scope::Queue, Scope::Read, Scope::Manage, Scope::Runner, Scope::Admin];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Queue => "queue",
            Scope::Read => "read",
            Scope::Manage => "manage",
            Scope::Runner => "runner",
            Scope::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Scope::ALL.into_iter().find(|s| s.as_str() == text).ok_or(UnknownScope)
    }
}

/// The text names no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one of queue, read, manage, runner, admin")]
pub struct UnknownScope;

/// What is kept of a token: everything but the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its id, by which it is listed and revoked.
    pub id: TokenId,
    /// SHA-256 of the token's text.
    pub hash: [u8; 32],
    /// The project it is limited to; none: every project.
    pub project: Option<ProjectId>,
    /// The cluster that a runner with it must be of; none: any.
    #[serde(default)]
    pub cluster: Option<String>,
    /// What it may do, ascending.
    pub scopes: Vec<Scope>,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was last accepted, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Whether it lets its bearer do what needs `scope` in `project` (none: outside of any project).
    ///
    /// `Admin` includes every scope and `Manage` includes `Queue` and `Read`. A token limited to a project may
    /// do nothing elsewhere, whatever its scopes.
    pub fn allows(&self, scope: Scope, project: Option<ProjectId>) -> bool {
        let in_reach = self.project.is_none() || self.project == project;
        in_reach && self.scopes.iter().any(|&held| includes(held, scope))
    }

    /// Whether it has expired at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

fn includes(held: Scope, needed: Scope) -> bool {
    match held {
        Scope::Admin => true,
        Scope::Manage => matches!(needed, Scope::Queue | Scope::Read | Scope::Manage),
        held => held == needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seq;

    fn token(project: Option<ProjectId>, scopes: &[Scope]) -> TokenRecord {
        TokenRecord {
            id: TokenId::new(Seq(1), 1),
            hash: [0; 32],
            project,
            cluster: None,
            scopes: scopes.to_vec(),
            name: String::new(),
            created_at: Timestamp::default(),
            expires_at: Some(Timestamp::from_secs(10)),
            last_used_at: None,
        }
    }

    #[test]
    fn a_scope_includes_what_it_must_and_no_more() {
        let held =
            |scope| Scope::ALL.into_iter().filter(move |&needed| includes(scope, needed)).collect::<Vec<_>>();
        assert_eq!(held(Scope::Queue), [Scope::Queue]);
        assert_eq!(held(Scope::Read), [Scope::Read]);
        assert_eq!(held(Scope::Manage), [Scope::Queue, Scope::Read, Scope::Manage]);
        assert_eq!(held(Scope::Runner), [Scope::Runner]);
        assert_eq!(held(Scope::Admin), Scope::ALL);
    }

    #[test]
    fn a_project_token_ends_at_its_project() {
        let (mine, other) = (ProjectId::new(Seq(1), 0), ProjectId::new(Seq(2), 0));
        let admin = token(Some(mine), &[Scope::Admin]);
        assert!(admin.allows(Scope::Manage, Some(mine)));
        assert!(!admin.allows(Scope::Manage, Some(other)));
        assert!(!admin.allows(Scope::Admin, None));
        assert!(token(None, &[Scope::Read]).allows(Scope::Read, Some(other)));
    }

    #[test]
    fn a_token_expires_at_its_instant() {
        assert!(!token(None, &[]).is_expired(Timestamp::from_millis(9_999)));
        assert!(token(None, &[]).is_expired(Timestamp::from_secs(10)));
    }
}
