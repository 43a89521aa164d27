//! What the host remembers of the connections of a slot, forgotten when another task gets it.
//!
//! The host keeps each connection for a while after its last packet, so that answers find their way. With the addresses of
//! a slot they outlive its task: the next one would get what comes late for the one before, if it opens the same port, and
//! would be let fewer connections of its own.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;

use nix::sched::{CloneFlags, setns};

use super::link::Links;
use super::netlink::{ACK, Message, Netlink};
use super::slot::INSIDE;

/// Removes connections.
const DELETE: u16 = 1 << 8 | 2;

/// Where the kernel counts what goes over each link of a namespace.
const COUNTERS: &str = "/proc/thread-self/net/dev";

/// What is read of that: a slot has two links.
const LENGTH: usize = 1024;

/// The connections of one slot, as the host has them.
#[derive(Debug)]
pub(crate) struct Connections {
    /// Of the host's namespace.
    host: Netlink,
    /// One for each version of the protocol.
    requests: Vec<Message>,
    counters: File,
    /// The counters when the connections were last forgotten.
    seen: Vec<u8>,
}

impl Connections {
    /// Moves this thread from the host's network into `egress`, the slot's, and forgets what the host knows of it. `None`:
    /// this host cannot (before Linux 5.8, or without nf_conntrack_netlink).
    pub(crate) fn enter(egress: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let host = Netlink::filter()?;
        setns(egress, CloneFlags::CLONE_NEWNET)?;
        let own = Links::open()?.addresses()?.into_iter().filter(|address| !is_local(*address));
        let requests = own.map(forget_all_from).collect();
        let mut connections = Self { host, requests, counters: File::open(COUNTERS)?, seen: Vec::new() };
        Ok(connections.forget().ok().map(|()| connections))
    }

    /// Forgets all of them. Costs next to nothing if nothing went over the slot's wire since the last time.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        let mut counters = [0; LENGTH];
        let read = self.counters.read_at(&mut counters, 0)?;
        let now = of_the_wire(&counters[..read]);
        if now != self.seen {
            self.seen = now.to_vec();
            self.requests.iter().try_for_each(|request| self.host.ask_again(request))?;
        }
        Ok(())
    }
}

/// What is counted of the slot's wire.
fn of_the_wire(counters: &[u8]) -> &[u8] {
    let mut lines = counters.split(|&byte| byte == b'\n');
    lines.find(|line| line.trim_ascii_start().starts_with(INSIDE.as_bytes())).unwrap_or_default()
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

/// The request to forget every connection that was opened from `source`.
fn forget_all_from(source: IpAddr) -> Message {
    // The first of the filter's properties: the source.
    const BY_SOURCE: u32 = 1;
    let (family, kind, bytes) = match source {
        IpAddr::V4(source) => (libc::AF_INET, 1, source.octets().to_vec()),
        IpAddr::V6(source) => (libc::AF_INET6, 3, source.octets().to_vec()),
    };
    let mut request = Message::new(DELETE, ACK, &[family.to_le_bytes()[0], 0, 0, 0]);
    request.nest(1, |tuple| tuple.nest(1, |addresses| addresses.put(kind, &bytes)));
    request.nest(25, |filter| filter.put(1, &BY_SOURCE.to_ne_bytes()));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_the_wire_is_told_from_what_stays_inside() {
        let before = b"Inter-| Receive\n face |bytes\n    lo: 1 2\n  eth0: 3 4\n";
        let inside_only = b"Inter-| Receive\n face |bytes\n    lo: 9 9\n  eth0: 3 4\n";
        assert_eq!(of_the_wire(before), b"  eth0: 3 4");
        assert_eq!(of_the_wire(before), of_the_wire(inside_only));
        assert_eq!(of_the_wire(b"lo: 1"), b"");
    }
}
