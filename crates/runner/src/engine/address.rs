//! Where an engine is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The Unix socket of an engine. One on another machine is no use: tasks have folders of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAddress(PathBuf);

impl EngineAddress {
    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.0
    }
}

impl FromStr for EngineAddress {
    type Err = NoEngineAddress;

    fn from_str(text: &str) -> Result<Self, NoEngineAddress> {
        match text.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(Self(path.into())),
            _ => Err(NoEngineAddress),
        }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.0.display())
    }
}

/// The text is no address of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the socket of an engine on this machine, such as unix:///run/podman/podman.sock")]
pub struct NoEngineAddress;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_on_this_machine() {
        let address: EngineAddress = "unix:///run/podman/podman.sock".parse().unwrap();
        assert_eq!(address.to_string(), "unix:///run/podman/podman.sock");
        assert_eq!(address.socket(), Path::new("/run/podman/podman.sock"));
        for wrong in ["", "/run/docker.sock", "unix://run/x", "tcp://10.0.0.1:2376"] {
            assert_eq!(wrong.parse::<EngineAddress>(), Err(NoEngineAddress), "{wrong}");
        }
    }
}
