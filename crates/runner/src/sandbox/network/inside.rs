//! What a task finds in its own namespace: the API and a resolver, each behind a door of its slot.
//!
//! A door is a socket that the runner opened inside and serves from outside. So both have the same address in every
//! slot, nobody but the slot reaches them, they need no way into this host, and no firewall of it can be in the way.
//! Their ports are below 1024, where a task cannot open any.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

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
        let api = door(api).map(TcpListener::bind).transpose()?;
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
/// With TLS it is called as its certificate says: a name is led to the door by [`hosts`], and the door of a server on this
/// host's loopback is at the same place of the task's own. Any other address cannot be led anywhere: there the task must
/// be able to reach it itself.
pub fn api_inside(api: &ApiAddress) -> ApiAddress {
    match door(api) {
        Some(door) if api.scheme != "https" => {
            ApiAddress { host: door.ip().to_string(), port: door.port(), ..api.clone() }
        }
        _ => api.clone(),
    }
}

/// The door to the API; none: there is none.
fn door(api: &ApiAddress) -> Option<SocketAddr> {
    if api.scheme != "https" {
        return Some((API, 80).into());
    }
    match api.host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_loopback() => Some((address, api.port).into()),
        Ok(_) => None,
        // This name has its meaning already, and programs that do not look it up.
        Err(_) if api.host == "localhost" => Some((Ipv4Addr::LOCALHOST, api.port).into()),
        Err(_) => Some((API, api.port).into()),
    }
}

/// The file `/etc/hosts` of a task that does not have the host's network.
pub fn hosts(api: &ApiAddress) -> String {
    let mut hosts = format!("127.0.0.1 localhost\n::1 localhost\n{API} {API_NAME}");
    if api.scheme == "https" && door(api).is_some_and(|door| door.ip() == API) {
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
        for url in ["https://localhost:8443", "https://127.0.0.1:8443", "https://[::1]:8443"] {
            assert_eq!(seen(url), (url.to_owned(), local.clone()));
        }
        let door = |url: &str| door(&ApiAddress::parse(url).unwrap()).map(|door| door.to_string());
        assert_eq!(door("https://localhost:8443").as_deref(), Some("127.0.0.1:8443"));
        assert_eq!(door("https://127.0.0.1:8443").as_deref(), Some("127.0.0.1:8443"));
        assert_eq!(door("https://tasks.example.com").as_deref(), Some("127.0.0.80:443"));
        assert_eq!((door("https://[::1]:8443"), door("https://10.0.0.5")), (None, None));
        assert_eq!(seen("https://[fd00::5]:1"), ("https://[fd00::5]:1".to_owned(), local));
    }
}
