//! What an operator decides about the network of tasks.

use super::prefix::{Allowed, Prefix};

/// Ranges that the internet does not have, or has only inside of somebody's network: not for tasks, unless said so.
const PRIVATE: [&str; 15] = [
    // This host, in both families; and the forms that lead to an address of version 4.
    "0.0.0.0/8",
    "127.0.0.0/8",
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2002::/16",
    // Private networks, those of providers, and of measurements.
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "192.0.0.0/24",
    "198.18.0.0/15",
    "fc00::/7",
    "fec0::/10",
];

/// What an operator decides about the network of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the addresses of slots are taken from. To be left alone by everybody else.
    pub range: Prefix,
    /// What tasks do not reach, beside what nobody's tasks do: link-local addresses, multicast, other slots, this host.
    pub deny: Vec<Prefix>,
    /// What they reach all the same. This host itself only with a port.
    pub allow: Vec<Allowed>,
    /// Whether packages may ask for the host's own network, with all that listens there.
    pub host: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Set aside for measuring networks, so that no real one is hidden by it.
            range: "198.18.0.0/15".parse().expect("written correctly here"),
            deny: PRIVATE.iter().map(|range| range.parse().expect("written correctly above")).collect(),
            allow: Vec::new(),
            host: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_deny_private_networks_and_nothing_of_the_internet() {
        let deny = Settings::default().deny;
        let denied = |address: &str| deny.iter().any(|range| range.contains(address.parse().unwrap()));
        for address in
            ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.127.0.1", "127.0.0.1", "0.0.0.1", "fd00:ec2::254"]
        {
            assert!(denied(address), "{address}");
        }
        for address in ["::1", "::127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"] {
            assert!(denied(address), "{address}");
        }
        for address in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2001:db8::1", "198.20.0.1"]
        {
            assert!(!denied(address), "{address}");
        }
    }
}
