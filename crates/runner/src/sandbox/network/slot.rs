//! The networks of one slot.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd};

use windlass_model::limits::Network as TaskNetwork;

use super::block::Block;
use super::filter;
use super::forwarding;
use super::inside::Doors;
use super::link::Links;
use super::namespace::Namespace;
use super::prefix::Prefix;
use super::rules::Chain;
use crate::plan::ApiAddress;

/// What the slot's own end of the wire is called inside.
pub(super) const INSIDE: &str = "eth0";

/// The table of the rules inside.
pub(super) const WALL: &str = "wall";

/// This host's end of every wire, in version 6. Means something only on that wire.
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The networks of one slot: made once, used by one task after another.
#[derive(Debug)]
pub struct SlotNetwork {
    egress: Namespace,
    none: Namespace,
}

impl SlotNetwork {
    /// Makes both, and opens the doors of the first, behind the `wall`. The rules for the block's links must be there
    /// already.
    pub(super) fn create(
        block: &Block,
        slot: usize,
        wall: &[Chain],
        with_v6: bool,
        api: &ApiAddress,
    ) -> io::Result<(Self, Doors)> {
        let (egress, none) = (Namespace::create()?, Namespace::create()?);
        let gateway = block.gateway();
        let (v4, v6) = block.slot(slot);

        let name = format!("{}{slot}", block.link_prefix());
        let links = Links::open()?;
        links.create_pair(&name, INSIDE, egress.as_fd())?;
        let index = links.index(&name)?;
        forwarding::write(&format!("ipv4/conf/{name}/forwarding"), "1")?;
        if !with_v6 {
            forwarding::switch_v6_off(&name)?;
        }
        links.add_address(index, gateway.into())?;
        if with_v6 {
            links.add_address(index, GATEWAY_V6.into())?;
        }
        links.up(index)?;
        links.add_route(Prefix::only(v4.into()), index, None)?;
        if with_v6 {
            links.add_route(Prefix::only(v6.into()), index, None)?;
        }

        let doors = egress.within(|| {
            let links = Links::open()?;
            let index = links.index(INSIDE)?;
            if !with_v6 {
                forwarding::switch_v6_off("all")?;
            }
            links.add_address(index, v4.into())?;
            if with_v6 {
                links.add_address(index, v6.into())?;
            }
            filter::install(WALL, wall)?;
            links.up(index)?;
            links.add_route(Prefix::only(gateway.into()), index, None)?;
            links.add_route(everything("0.0.0.0"), index, Some(gateway.into()))?;
            if with_v6 {
                links.add_route(everything("::"), index, Some(GATEWAY_V6.into()))?;
            }
            Doors::open(api)
        })?;
        Ok((Self { egress, none }, doors))
    }

    /// The namespace that reaches the internet, and not what is private.
    pub fn egress(&self) -> BorrowedFd<'_> {
        self.egress.as_fd()
    }

    /// Listens at an address of one of the two; which has neither is refused.
    pub fn listen(&self, network: TaskNetwork, address: SocketAddr) -> io::Result<TcpListener> {
        let namespace = match network {
            TaskNetwork::Egress => &self.egress,
            TaskNetwork::None => &self.none,
            TaskNetwork::Host => return Err(io::ErrorKind::Unsupported.into()),
        };
        namespace.within(|| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
    }

    /// The namespace with nothing but its own loopback.
    pub fn none(&self) -> BorrowedFd<'_> {
        self.none.as_fd()
    }
}

fn everything(first: &str) -> Prefix {
    Prefix::new(first.parse().expect("written correctly by us"), 0).expect("the first address of all")
}
