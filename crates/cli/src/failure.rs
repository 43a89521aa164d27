//! What a person is told when something did not work: what failed, why, and how to fix it.

use std::fmt;

use windlass_client::ClientError;
use windlass_client::config::ConfigError;
use windlass_client::package::PackageError;

/// The exit code of everything that did not work, but for wrong usage (2, by the argument parser) and for the outcome
/// of tasks.
pub(crate) const FAILED: u8 = 1;

/// What failed, why, and how to fix it.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    fix: Option<String>,
    code: u8,
}

impl Failure {
    /// `what` says what failed and why.
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), fix: None, code: FAILED }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self { code: 2, ..Self::new(what) }
    }

    /// With a way to fix it.
    #[must_use]
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// What failed and why, and how to fix it.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.what, self.fix)
    }

    /// Seen from a level above: `what` was being done.
    #[must_use]
    pub(crate) fn while_doing(mut self, what: impl fmt::Display) -> Self {
        self.what = format!("{what}: {}", self.what);
        self
    }
}

impl std::error::Error for Failure {}

/// One line, and a second with the fix.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "windlass: {}", self.what.trim_end())?;
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let fix = match &error {
            ClientError::Unreachable { reason, .. } if reason.contains("certificate") => Some(
                "name what to believe with --ca FILE or WINDLASS_CA, and the server as its certificate does",
            ),
            ClientError::Unreachable { .. } => Some(
                "start a server with `windlass up`, or name another with --url or IRON_HOST and IRON_PORT",
            ),
            ClientError::Busy { .. } => Some("nothing was kept; try again in a moment"),
            ClientError::Refused { status: 401, .. } => {
                Some("`windlass config` shows which token is used and where it was found")
            }
            ClientError::Unexpected { .. } => Some("check --url: another program may listen there"),
            ClientError::Refused { .. } => None,
        };
        let failure = Failure::new(error);
        match fix {
            Some(fix) => failure.fix(fix),
            None => failure,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::NoToken => Failure::new("no token").fix(
                "run this where `windlass up` was started, or pass --token, or set IRON_TOKEN, or write \"token\" into iron.json \
                 (the server's first start left one in DATA/iron.json)",
            ),
            ConfigError::NoProject => Failure::new("no project").fix(
                "pass --project-id, or set IRON_PROJECT_ID, or write \"project_id\" into iron.json; `windlass project list` shows them",
            ),
            _ => Failure::new(error),
        }
    }
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        Failure::new(error)
    }
}

impl From<crate::settings::layers::BadSetting> for Failure {
    fn from(error: crate::settings::layers::BadSetting) -> Self {
        Failure::new(error).fix("`windlass config` shows every setting, what it is and where it was set")
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// The failure, put after `what`.
    fn doing(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|e| e.into().while_doing(what))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_how_to_fix_it() {
        let refused = ClientError::Unreachable { url: "http://h:1".into(), reason: "refused".into() };
        let failure = Err::<(), _>(refused).doing("queue a task").unwrap_err();
        let text = failure.to_string();
        assert!(
            text.starts_with("windlass: queue a task: cannot reach http://h:1: refused\n  fix: "),
            "{text}"
        );
        assert_eq!((failure.code(), Failure::usage("x").code()), (1, 2));
    }
}
