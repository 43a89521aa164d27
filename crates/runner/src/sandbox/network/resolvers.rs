//! The resolvers that the host uses, as its configuration names them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the host names its resolvers.
pub(super) const FILE: &str = "/etc/resolv.conf";

/// As many as the resolver of the C library looks at.
const MOST: usize = 3;

/// The host's resolvers, read anew when their file has changed.
#[derive(Debug)]
pub struct Resolvers {
    file: PathBuf,
    known: Mutex<(Option<Version>, Arc<[SocketAddr]>)>,
}

/// Tells one state of a file from the next: where it is, how long, and when it was changed.
type Version = (u64, u64, i64, i64);

impl Resolvers {
    /// Those of the host.
    pub fn of_host() -> Self {
        Self::in_file(FILE)
    }

    /// Those that a file in the form of `/etc/resolv.conf` names.
    pub(super) fn in_file(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), known: Mutex::new((None, Arc::new([]))) }
    }

    /// Those to be asked now, in this order.
    pub(super) fn current(&self) -> Arc<[SocketAddr]> {
        let version = fs::metadata(&self.file).ok().map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != version || known.1.is_empty() {
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            *known = (version, servers(&text).into());
        }
        known.1.clone()
    }
}

/// The resolvers that a file in the form of `/etc/resolv.conf` names; if none, the one of this host.
fn servers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| address(words.next()?)).flatten()
    });
    let servers: Vec<_> = named.take(MOST).collect();
    if servers.is_empty() { vec![(Ipv4Addr::LOCALHOST, 53).into()] } else { servers }
}

/// An address, that of a link with its name behind a percent sign.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, link) = text.split_once('%').map_or((text, None), |(address, link)| (address, Some(link)));
    match (address.parse().ok()?, link) {
        (IpAddr::V6(address), Some(link)) => {
            let index = link.parse().ok().or_else(|| nix::net::if_::if_nametoindex(link).ok())?;
            Some(SocketAddrV6::new(address, 53, 0, index).into())
        }
        (address, _) => Some(SocketAddr::new(address, 53)),
    }
}

/// The lines that say how names are looked up, but not where.
pub(super) fn beside_servers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| {
        let word = line.split_ascii_whitespace().next();
        matches!(word, Some("search" | "domain" | "options"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_the_c_library_does() {
        let text = "# comment\nnameserver 10.0.0.1\nsearch a.example b.example\nnameserver fe80::1%lo\n\
                    nameserver nonsense\nnameserver\noptions edns0\nnameserver ::1 \nnameserver 10.0.0.4\n";
        let text: Vec<_> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(text, ["10.0.0.1:53", "[fe80::1%1]:53", "[::1]:53"]);
        assert_eq!(servers(""), ["127.0.0.1:53".parse().unwrap()]);
        let text = "search a.example\n options edns0\nnameserver 1.1.1.1\n#options x\n";
        assert_eq!(beside_servers(text).collect::<Vec<_>>(), ["search a.example", " options edns0"]);
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        let resolvers = Resolvers::in_file(&file);
        assert_eq!(resolvers.current()[..], ["127.0.0.1:53".parse().unwrap()]);
        fs::write(&file, "nameserver 10.0.0.1\n").unwrap();
        assert_eq!(resolvers.current()[..], ["10.0.0.1:53".parse().unwrap()]);
        fs::write(&file, "nameserver 10.0.0.22\n").unwrap();
        assert_eq!(resolvers.current()[..], ["10.0.0.22:53".parse().unwrap()]);
    }
}
