//! What a task finds in its own namespace: the API and a resolver, each behind a door of its slot.
//!
//! A door is a socket that the runner opened inside and serves from outside. So both have the same address in every
//! slot, nobody but the slot reaches them, they need no way into this host, and no firewall of it can be in the way.
//! Their ports are below 1024, where a task cannot open any.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use super::resolvers;
use crate::plan::ApiAddress;

/// The API.
const API: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 80);
/// The name of the same.
const API_NAME: &str = "windlass";
/// The resolver.
const DNS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// The doors of one slot.
#[derive(Debug)]
pub(super) struct Doors {
    /// None: the API's own address is used.
    pub(super) api: Option<TcpListener>,
    pub(super) dns: TcpListener,
    pub(super) dns_udp: UdpSocket,
}

impl Doors {
    /// Opens them in the namespace of this thread.
    pub(super) fn open(api: &ApiAddress) -> io::Result<Self> {
        let api = match door(api) {
            Some(port) => Some(TcpListener::bind((API, port))?),
            None => None,
        };
        let doors = Self { api, dns: TcpListener::bind((DNS, 53))?, dns_udp: UdpSocket::bind((DNS, 53))? };
        if let Some(api) = &doors.api {
            api.set_nonblocking(true)?;
        }
        doors.dns.set_nonblocking(true)?;
        doors.dns_udp.set_nonblocking(true)?;
        Ok(doors)
    }
}

/// Where a task with the network `egress` reaches the API that this host reaches at `api`.
///
/// With TLS, the name is the one that the certificate is for, and [`hosts`] leads it to the door. An address instead of a
/// name cannot be led anywhere: there the task must be able to reach it itself.
pub fn api_inside(api: &ApiAddress) -> ApiAddress {
    match door(api) {
        Some(port) if api.scheme != "https" => ApiAddress { host: API.to_string(), port, ..api.clone() },
        _ => api.clone(),
    }
}

/// The port of the door to the API; none: there is none.
fn door(api: &ApiAddress) -> Option<u16> {
    let is_address = api.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    match (api.scheme.as_str(), is_address) {
        ("https", true) => None,
        ("https", false) => Some(api.port),
        _ => Some(80),
    }
}

/// The file `/etc/hosts` of a task that does not have the host's network.
pub fn hosts(api: &ApiAddress) -> String {
    let mut hosts = format!("127.0.0.1 localhost\n::1 localhost\n{API} {API_NAME}");
    if api.scheme == "https" && door(api).is_some() {
        let _ = write!(hosts, " {}", api.host);
    }
    hosts + "\n"
}

/// The file `/etc/resolv.conf` of a task that does not have the host's network.
pub fn resolv_conf() -> String {
    let mut text = format!("nameserver {DNS}\n");
    for line in resolvers::beside_servers(&std::fs::read_to_string(resolvers::FILE).unwrap_or_default()) {
        text += line;
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(url: &str) -> (String, String) {
        let api = ApiAddress::parse(url).unwrap();
        let inside = api_inside(&api);
        (format!("{}://{}:{}", inside.scheme, inside.host, inside.port), hosts(&api))
    }

    #[test]
    fn the_api_has_the_same_address_in_every_slot_or_the_name_of_its_certificate() {
        let local = "127.0.0.1 localhost\n::1 localhost\n127.0.0.80 windlass\n".to_owned();
        assert_eq!(seen("http://10.0.0.5:8080"), ("http://127.0.0.80:80".to_owned(), local.clone()));
        assert_eq!(seen("http://server"), ("http://127.0.0.80:80".to_owned(), local.clone()));
        let (address, hosts) = seen("https://tasks.example.com:8443/");
        assert_eq!(address, "https://tasks.example.com:8443");
        assert!(hosts.ends_with("127.0.0.80 windlass tasks.example.com\n"), "{hosts}");
        assert_eq!(seen("https://10.0.0.5"), ("https://10.0.0.5:443".to_owned(), local.clone()));
        assert_eq!(seen("https://[fd00::5]:1"), ("https://[fd00::5]:1".to_owned(), local));
    }
}
