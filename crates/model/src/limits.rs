//! What an attempt may take of the machine it runs on, and whom it may talk to.
//!
//! A package states [`Wishes`]; the server makes [`Limits`] of them by its [`Policy`], which has defaults and maxima; the
//! runner that takes the task cuts those once more to what it may give, and enforces them. Time is the task's timeout,
//! not a limit here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one attempt may take: every number resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory of all its processes together, with what they wrote to files in memory.
    pub memory_bytes: u64,
    /// Processor time, in thousandths of one processor.
    pub cpu_millis: u32,
    /// Processes and threads at once.
    pub processes: u32,
    /// Everything it writes to files: its directory and `/tmp` together.
    pub disk_bytes: u64,
    /// Files that one of its processes may have open.
    pub open_files: u32,
    /// Output that is kept; of more, the middle is left out.
    pub output_bytes: u64,
}

impl Limits {
    /// What holds where neither a package nor the configuration says anything.
    pub const DEFAULT: Limits = Limits {
        memory_bytes: 512 << 20,
        cpu_millis: 1000,
        processes: 512,
        // Less than the memory, of which it is a part: so a full disk is an error that the task sees, not its death.
        disk_bytes: 256 << 20,
        open_files: 4096,
        output_bytes: 4 << 20,
    };

    /// The most that a package may ask for where the configuration does not say otherwise.
    pub const MAX: Limits = Limits {
        memory_bytes: 64 << 30,
        cpu_millis: 64_000,
        processes: 32_768,
        disk_bytes: 64 << 30,
        open_files: 1_048_576,
        output_bytes: 64 << 20,
    };

    /// The least that a limit may be: with less nothing runs, and who asks for it means another unit.
    pub const MIN: Limits = Limits {
        memory_bytes: 4 << 20,
        cpu_millis: 10,
        processes: 1,
        disk_bytes: 64 << 10,
        open_files: 16,
        output_bytes: 1 << 10,
    };

    /// Each limit, or the one of `most` where that is less.
    #[must_use]
    pub fn at_most(self, most: &Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.min(most.memory_bytes),
            cpu_millis: self.cpu_millis.min(most.cpu_millis),
            processes: self.processes.min(most.processes),
            disk_bytes: self.disk_bytes.min(most.disk_bytes),
            open_files: self.open_files.min(most.open_files),
            output_bytes: self.output_bytes.min(most.output_bytes),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

/// What a package asks for; `None`: whatever is the default when a task of it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// See [`Limits::memory_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// See [`Limits::cpu_millis`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// See [`Limits::processes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// See [`Limits::disk_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// See [`Limits::open_files`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// See [`Limits::output_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Whom it may talk to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

impl Wishes {
    /// The limits of an attempt: what is wished or else the default, and never more than `maxima`, which may have
    /// become less since the package was uploaded.
    pub fn resolve(&self, defaults: &Limits, maxima: &Limits) -> Limits {
        let wished = Limits {
            memory_bytes: self.memory_bytes.unwrap_or(defaults.memory_bytes),
            cpu_millis: self.cpu_millis.unwrap_or(defaults.cpu_millis),
            processes: self.processes.unwrap_or(defaults.processes),
            disk_bytes: self.disk_bytes.unwrap_or(defaults.disk_bytes),
            open_files: self.open_files.unwrap_or(defaults.open_files),
            output_bytes: self.output_bytes.unwrap_or(defaults.output_bytes),
        };
        wished.at_most(maxima)
    }
}

/// What the configuration says of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What a package has that asks for nothing.
    pub defaults: Limits,
    /// The most that it can ask for.
    pub maxima: Limits,
    /// The network of a package that asks for none.
    pub network: Network,
    /// Whether a package can ask for the host's network.
    pub allow_host: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            defaults: Limits::DEFAULT,
            maxima: Limits::MAX,
            network: Network::default(),
            allow_host: false,
        }
    }
}

impl Policy {
    /// The limits of a package's attempts.
    pub fn limits(&self, wishes: &Wishes) -> Limits {
        wishes.resolve(&self.defaults, &self.maxima)
    }

    /// The network of a package's attempts. One that was allowed to have the host's when it was uploaded, and no longer
    /// is, gets the default.
    pub fn network(&self, wishes: &Wishes) -> Network {
        wishes.network.filter(|network| *network != Network::Host || self.allow_host).unwrap_or(self.network)
    }
}

/// What an upload says of limits: of each nothing, which keeps what the package had; `Some(None)`, the default again; or
/// a wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// See [`Limits::memory_bytes`].
    pub memory_bytes: Option<Option<u64>>,
    /// See [`Limits::cpu_millis`].
    pub cpu_millis: Option<Option<u32>>,
    /// See [`Limits::processes`].
    pub processes: Option<Option<u32>>,
    /// See [`Limits::disk_bytes`].
    pub disk_bytes: Option<Option<u64>>,
    /// See [`Limits::open_files`].
    pub open_files: Option<Option<u32>>,
    /// See [`Limits::output_bytes`].
    pub output_bytes: Option<Option<u64>>,
    /// Whom it may talk to.
    pub network: Option<Option<Network>>,
}

impl Wishes {
    /// The wishes after an upload.
    #[must_use]
    pub fn changed(self, by: &Changes) -> Wishes {
        Wishes {
            memory_bytes: by.memory_bytes.unwrap_or(self.memory_bytes),
            cpu_millis: by.cpu_millis.unwrap_or(self.cpu_millis),
            processes: by.processes.unwrap_or(self.processes),
            disk_bytes: by.disk_bytes.unwrap_or(self.disk_bytes),
            open_files: by.open_files.unwrap_or(self.open_files),
            output_bytes: by.output_bytes.unwrap_or(self.output_bytes),
            network: by.network.unwrap_or(self.network),
        }
    }
}

/// Whom a task may talk to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The internet and the API; not the host, other tasks or private networks.
    #[default]
    Egress,
    /// Nobody.
    None,
    /// Whomever the host can reach, its own services included. Only where the runner's configuration allows it.
    Host,
}

impl Network {
    /// Every network.
    pub const ALL: [Network; 3] = [Network::Egress, Network::None, Network::Host];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Network::Egress => "egress",
            Network::None => "none",
            Network::Host => "host",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        Network::ALL.into_iter().find(|n| n.as_str() == text).ok_or(UnknownNetwork)
    }
}

/// The text names no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is one of egress, none, host")]
pub struct UnknownNetwork;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_wins_over_the_default_and_the_maximum_over_both() {
        let wishes = Wishes { memory_bytes: Some(1 << 30), cpu_millis: Some(250), ..Wishes::default() };
        let limits = wishes.resolve(&Limits::DEFAULT, &Limits::MAX);
        assert_eq!(limits, Limits { memory_bytes: 1 << 30, cpu_millis: 250, ..Limits::DEFAULT });
        let maxima = Limits { memory_bytes: 64 << 20, processes: 8, ..Limits::MAX };
        let limits = wishes.resolve(&Limits::DEFAULT, &maxima);
        assert_eq!((limits.memory_bytes, limits.processes, limits.cpu_millis), (64 << 20, 8, 250));
    }

    #[test]
    fn an_upload_changes_what_it_names() {
        let old = Wishes { memory_bytes: Some(1), processes: Some(2), ..Wishes::default() };
        let changes =
            Changes { processes: Some(None), network: Some(Some(Network::None)), ..Changes::default() };
        let expected = Wishes { memory_bytes: Some(1), network: Some(Network::None), ..Wishes::default() };
        assert_eq!(old.changed(&changes), expected);
    }

    #[test]
    fn the_hosts_network_is_given_only_as_long_as_it_is_allowed() {
        let wishes = Wishes { network: Some(Network::Host), ..Wishes::default() };
        assert_eq!(Policy::default().network(&wishes), Network::Egress);
        let policy = Policy { allow_host: true, network: Network::None, ..Policy::default() };
        assert_eq!(policy.network(&wishes), Network::Host);
        assert_eq!(policy.network(&Wishes::default()), Network::None);
    }

    #[test]
    fn what_an_older_server_does_not_send_is_the_default() {
        assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), Limits::DEFAULT);
        let some = serde_json::from_str::<Limits>(r#"{"processes": 3, "what_is_new": 1}"#).unwrap();
        assert_eq!(some, Limits { processes: 3, ..Limits::DEFAULT });
        assert_eq!(serde_json::to_string(&Wishes::default()).unwrap(), "{}");
    }

    #[test]
    fn networks_have_one_name_everywhere() {
        for network in Network::ALL {
            assert_eq!(network.as_str().parse(), Ok(network));
            assert_eq!(serde_json::to_string(&network).unwrap(), format!("\"{network}\""));
        }
        assert_eq!("bridge".parse::<Network>(), Err(UnknownNetwork));
    }
}
