//! Warm workers: processes that take one task after another, and for how long they are kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether a worker's process runs one task or many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A process for each task.
    #[default]
    Process,
    /// A process that asks for one task after another, through the AWS Lambda Runtime API.
    Warm,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 2] = [Mode::Process, Mode::Warm];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Process => "process",
            Mode::Warm => "warm",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(UnknownMode)
    }
}

/// The text names no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is one of process, warm")]
pub struct UnknownMode;

/// What a warm worker's handler is written in: who calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Python 3: `module.function`.
    Python,
    /// Node: `file.function`.
    Node,
    /// Nobody: the package brings a program `bootstrap` that asks for tasks itself.
    Provided,
}

impl Runtime {
    /// The runtime by its name: `python3`, `node`, `provided`, or as AWS names them, such as `python3.12`,
    /// `nodejs22.x` and `provided.al2023`. Its version is the host's, whatever is asked for.
    pub fn named(name: &str) -> Option<Self> {
        let is_version = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.' || c == 'x');
        if name.strip_prefix("python").is_some_and(|rest| !rest.starts_with('2') && is_version(rest)) {
            Some(Runtime::Python)
        } else if name.strip_prefix("nodejs").or(name.strip_prefix("node")).is_some_and(is_version) {
            Some(Runtime::Node)
        } else if name == "provided" || name.starts_with("provided.") {
            Some(Runtime::Provided)
        } else {
            None
        }
    }
}

/// How long a warm worker is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Keep {
    /// Workers that a runner keeps even if they have nothing to do, once it has started them.
    pub min_warm: u32,
    /// Tasks after which a worker is replaced.
    pub max_tasks: u32,
    /// Seconds after which a worker is replaced.
    pub max_age_s: u32,
    /// Seconds after which a worker is ended that has nothing to do.
    pub idle_timeout_s: u32,
}

impl Keep {
    /// What holds for a package that asks for nothing.
    pub const DEFAULT: Keep = Keep { min_warm: 0, max_tasks: 10_000, max_age_s: 3600, idle_timeout_s: 300 };
    /// The most that can be asked for.
    pub const MAX: Keep =
        Keep { min_warm: 1000, max_tasks: 1_000_000, max_age_s: 7 * 86_400, idle_timeout_s: 86_400 };
}

impl Default for Keep {
    fn default() -> Self {
        Keep::DEFAULT
    }
}

/// What a package asks for; `None`: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeepWishes {
    /// See [`Keep::min_warm`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_warm: Option<u32>,
    /// See [`Keep::max_tasks`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tasks: Option<u32>,
    /// See [`Keep::max_age_s`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u32>,
    /// See [`Keep::idle_timeout_s`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_s: Option<u32>,
}

impl KeepWishes {
    /// What holds.
    pub fn resolve(&self) -> Keep {
        Keep {
            min_warm: self.min_warm.unwrap_or(Keep::DEFAULT.min_warm),
            max_tasks: self.max_tasks.unwrap_or(Keep::DEFAULT.max_tasks),
            max_age_s: self.max_age_s.unwrap_or(Keep::DEFAULT.max_age_s),
            idle_timeout_s: self.idle_timeout_s.unwrap_or(Keep::DEFAULT.idle_timeout_s),
        }
    }

    /// The wishes after an upload.
    #[must_use]
    pub fn changed(self, by: &KeepChanges) -> KeepWishes {
        KeepWishes {
            min_warm: by.min_warm.unwrap_or(self.min_warm),
            max_tasks: by.max_tasks.unwrap_or(self.max_tasks),
            max_age_s: by.max_age_s.unwrap_or(self.max_age_s),
            idle_timeout_s: by.idle_timeout_s.unwrap_or(self.idle_timeout_s),
        }
    }
}

/// What an upload says of it: of each nothing, which keeps what the package had; `Some(None)`, the default again; or a
/// wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepChanges {
    /// See [`Keep::min_warm`].
    pub min_warm: Option<Option<u32>>,
    /// See [`Keep::max_tasks`].
    pub max_tasks: Option<Option<u32>>,
    /// See [`Keep::max_age_s`].
    pub max_age_s: Option<Option<u32>>,
    /// See [`Keep::idle_timeout_s`].
    pub idle_timeout_s: Option<Option<u32>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_known_by_our_names_and_by_those_of_aws() {
        for name in ["python", "python3", "python3.12"] {
            assert_eq!(Runtime::named(name), Some(Runtime::Python), "{name}");
        }
        for name in ["node", "nodejs", "nodejs22.x"] {
            assert_eq!(Runtime::named(name), Some(Runtime::Node), "{name}");
        }
        for name in ["provided", "provided.al2023"] {
            assert_eq!(Runtime::named(name), Some(Runtime::Provided), "{name}");
        }
        for name in ["", "python2.7", "pythonic", "java21", "providence", "sh"] {
            assert_eq!(Runtime::named(name), None, "{name}");
        }
    }

    #[test]
    fn an_upload_changes_what_it_names() {
        let old = KeepWishes { max_tasks: Some(1), min_warm: Some(2), ..KeepWishes::default() };
        let changes =
            KeepChanges { min_warm: Some(None), max_age_s: Some(Some(5)), ..KeepChanges::default() };
        let new = old.changed(&changes);
        assert_eq!(new, KeepWishes { max_tasks: Some(1), max_age_s: Some(5), ..KeepWishes::default() });
        assert_eq!(new.resolve(), Keep { max_tasks: 1, max_age_s: 5, ..Keep::DEFAULT });
    }
}
