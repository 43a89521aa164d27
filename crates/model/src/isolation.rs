//! How far a task is separated from the host and from other tasks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How far a runner separates tasks, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// A process group and resource limits: nothing that would stop a hostile task.
    #[default]
    #[serde(rename = "process")]
    Process,
    /// Namespaces of its own, made without privileges; limits only where control groups are delegated.
    #[serde(rename = "namespaces")]
    Namespaces,
    /// Namespaces, a user of its own and limits by version 1 of control groups.
    #[serde(rename = "namespaces+cgroups-v1")]
    CgroupsV1,
    /// Namespaces, a user of its own and limits by version 2 of control groups.
    #[serde(rename = "namespaces+cgroups-v2")]
    CgroupsV2,
}

impl Level {
    /// Every level, weakest first.
    pub const ALL: [Level; 4] = [Level::Process, Level::Namespaces, Level::CgroupsV1, Level::CgroupsV2];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Process => "process",
            Level::Namespaces => "namespaces",
            Level::CgroupsV1 => "namespaces+cgroups-v1",
            Level::CgroupsV2 => "namespaces+cgroups-v2",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Level::ALL.into_iter().find(|level| level.as_str() == text).ok_or(UnknownLevel)
    }
}

/// The text names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is one of process, namespaces, namespaces+cgroups-v1, namespaces+cgroups-v2")]
pub struct UnknownLevel;

/// How a runner separates tasks from the host and from each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// The level reached: the name of a [`Level`], or one that a newer runner knows.
    pub level: String,
    /// Every property that the level lacks here, and every limit of the task that is not enforced, in words.
    pub missing: Vec<String>,
}

impl Isolation {
    /// Isolation of `level`, without what is `missing`.
    pub fn new(level: Level, missing: Vec<String>) -> Self {
        Self { level: level.as_str().to_owned(), missing }
    }

    /// The level that can be counted on: of a name that is not known, the weakest.
    pub fn at_least(&self) -> Level {
        self.level.parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_have_one_name_everywhere() {
        assert!(Level::ALL.is_sorted());
        for level in Level::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
            assert_eq!(serde_json::to_string(&level).unwrap(), format!("\"{level}\""));
            assert_eq!(Isolation::new(level, Vec::new()).at_least(), level);
        }
    }

    #[test]
    fn a_level_that_is_not_known_stays_readable_and_counts_as_the_weakest() {
        let isolation: Isolation = serde_json::from_str(r#"{"level":"microvm","missing":[]}"#).unwrap();
        assert_eq!((isolation.level.as_str(), isolation.at_least()), ("microvm", Level::Process));
    }
}
