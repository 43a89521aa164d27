//! The IronWorker v2 API as JSON: lenient in what is read, exact in what is written.
//!
//! Requests keep each field as [`lenient`] types that accept every form the existing clients send (floats, numbers
//! in strings, nulls, `-3` for "unset", unknown keys); `validate` turns a request into an order that holds by its
//! types, or names the field that is wrong. Answers have every field that some client needs to be there, in the
//! type that the strictest one demands.

pub mod clusters;
pub mod codes;
pub mod credentials;
pub mod lenient;
pub mod limits;
pub mod more;
pub mod projects;
pub mod schedules;
pub mod tasks;
pub mod usage;
pub mod warm;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits::Policy;

/// What every call that has nothing else to say answers, and every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Msg {
    /// Compared literally by some clients on success.
    pub msg: String,
}

impl Msg {
    /// The answer `msg`.
    pub fn new(msg: impl Into<String>) -> Self {
        Self { msg: msg.into() }
    }
}

/// A field of a request that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadField {
    /// Path of the field, such as `tasks[3].timeout`.
    pub field: String,
    /// What is wrong with it, with the limit where there is one.
    pub problem: String,
    /// The kind of problem, for the HTTP status.
    pub kind: BadKind,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKind {
    /// It is not there, and must be.
    Missing,
    /// Its value cannot be used.
    Invalid,
    /// It is larger than a limit.
    TooLarge,
}

impl BadField {
    /// The field is not there.
    pub fn missing(field: impl Into<String>) -> Self {
        Self { field: field.into(), problem: "is required".to_owned(), kind: BadKind::Missing }
    }

    /// The field's value cannot be used.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), kind: BadKind::Invalid }
    }

    /// The field is larger than `limit_bytes`.
    pub fn too_large(field: impl Into<String>, size_bytes: usize, limit_bytes: usize) -> Self {
        let problem = format!("is {size_bytes} bytes, the limit is {limit_bytes}");
        Self { field: field.into(), problem, kind: BadKind::TooLarge }
    }

    /// The same problem, seen from a level above: `field` becomes `prefix.field`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.field = format!("{prefix}.{}", self.field);
        self
    }
}

/// Limits that requests are checked against; the server's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one payload.
    pub payload_bytes: usize,
    /// Of a package's config.
    pub config_bytes: usize,
    /// Of a progress message.
    pub msg_bytes: usize,
    /// Timeout of a task that names none, and what 0 means.
    pub default_timeout_s: u32,
    /// Longest timeout; longer ones are cut to it.
    pub max_timeout_s: u32,
    /// Longest delay.
    pub max_delay_s: u32,
    /// Most tasks in one request.
    pub tasks_per_request: usize,
    /// Most schedules of a project that are not ended.
    pub schedules_per_project: usize,
    /// Of what attempts may take.
    pub attempts: Policy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes: 256 * 1024,
            config_bytes: 64 * 1024,
            msg_bytes: 64 * 1024,
            default_timeout_s: 3600,
            max_timeout_s: 86_400,
            max_delay_s: 604_800,
            tasks_per_request: 10_000,
            schedules_per_project: 10_000,
            attempts: Policy::default(),
        }
    }
}

/// A page of a list as clients ask for it: `page` from 0 and at most 100, `per_page` 30 by default and at most 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows to leave out.
    pub skip: usize,
    /// Most rows to show.
    pub limit: usize,
}

impl Page {
    /// The page that the query values mean; what is not a number counts as not given, what is too large as the limit.
    pub fn from_query(page: Option<&str>, per_page: Option<&str>) -> Self {
        let number = |text: Option<&str>| text.and_then(|t| t.trim().parse::<usize>().ok());
        let limit = number(per_page).filter(|&n| n > 0).unwrap_or(30).min(100);
        Self { skip: number(page).unwrap_or(0).min(100) * limit, limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_clamped_not_refused() {
        assert_eq!(Page::from_query(None, None), Page { skip: 0, limit: 30 });
        assert_eq!(Page::from_query(Some("2"), Some("10")), Page { skip: 20, limit: 10 });
        assert_eq!(Page::from_query(Some("900"), Some("100000")), Page { skip: 10_000, limit: 100 });
        assert_eq!(Page::from_query(Some("-1"), Some("x")), Page { skip: 0, limit: 30 });
    }
}
