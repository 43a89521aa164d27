//! Where a worker finds its runner.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use windlass_model::limits::Network;

/// The address in a network of the slot's own, the same for all: nobody else can reach it there.
pub(crate) const INSIDE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9001);

/// Where a worker is to find its runner.
#[derive(Debug)]
pub(crate) enum Door {
    /// In this network of its slot, at [`INSIDE`]: to be opened when the slot is its own.
    Inside(Network),
    /// In the host's network.
    Outside(TcpListener),
}

impl Door {
    /// One in the host's network, at an address that nobody is told but the worker: of the millions that mean this host.
    ///
    /// That keeps workers from each other's doors by mistake, and not by intent: whoever shares that network can look
    /// which ports are open.
    pub(crate) fn outside() -> io::Result<Self> {
        let [.., a, b, c] = RandomState::new().build_hasher().finish().to_ne_bytes();
        let door = TcpListener::bind((Ipv4Addr::new(127, a, b, c.clamp(1, 254)), 0))?;
        door.set_nonblocking(true)?;
        Ok(Door::Outside(door))
    }

    /// Where the worker finds it.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Door::Inside(_) => Ok(INSIDE),
            Door::Outside(door) => door.local_addr(),
        }
    }
}
