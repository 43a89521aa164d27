//! The network of tasks: the internet, and nothing private.
//!
//! Each slot has two network namespaces, made once when the runner starts. `egress` is wired to this host, which passes
//! packets on as its own, by rules: not to private ranges, not to where clouds keep a machine's credentials, not to
//! other slots; and nothing at all is let in to this host itself. The API and a resolver are reached all the same, by
//! sockets of the runner's inside of the namespace. `none` has only a loopback.
//!
//! | module | holds |
//! |---|---|
//! | [`settings`], [`prefix`] | what an operator decides, and ranges of addresses |
//! | [`rules`] | what is let through: pure, and printed as `nft` would; on this host, and once more in each slot |
//! | [`block`] | the addresses of a runner's slots; what a killed runner left |
//! | [`slot`], [`namespace`] | the networks of one slot |
//! | [`connections`] | what the host remembers of a task's connections, forgotten with it |
//! | [`inside`] | the addresses that a task finds: the API and a resolver |
//! | [`pipe`], [`dns`], [`resolvers`] | serving them: connections and questions are passed on |
//! | [`forwarding`], [`firewall`] | the switches of the host; what else stands in the way |
//! | [`netlink`], [`link`], [`filter`] | speaking to the kernel |

mod block;
mod connections;
mod dns;
mod filter;
mod firewall;
mod forwarding;
mod inside;
mod link;
mod namespace;
mod netlink;
mod pipe;
mod prefix;
mod resolvers;
mod rules;
mod settings;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::plan::ApiAddress;
use block::{Block, OURS};
use filter::Owner;
use inside::Doors;
use link::Links;

pub(crate) use connections::Connections;
pub use firewall::{Obstacle, obstacles};
pub use inside::{api_inside, hosts, resolv_conf};
pub use namespace::enter_empty;
pub use prefix::{Allowed, Prefix};
pub use resolvers::Resolvers;
pub use settings::Settings;
pub use slot::SlotNetwork;

/// Why tasks cannot have a network of their own.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {source}")]
pub struct NetworkError {
    doing: &'static str,
    source: io::Error,
}

/// The networks of a runner's slots. They and their rules are gone when this is dropped.
#[derive(Debug)]
pub struct Network {
    block: Block,
    /// Keeps the rules; none: anybody can remove them.
    rules: Option<Owner>,
    slots: Vec<SlotNetwork>,
    has_v6: bool,
}

impl Network {
    /// Makes the networks of `slots` slots, after removing what killed runners left. Needs to be root.
    ///
    /// Forwarding of packets of version 4 is switched on if it is off. Those of version 6 are forwarded if this host
    /// does so already; otherwise slots have no version 6.
    ///
    /// Tasks find the API, which this host reaches at `api`, at [`api_inside`], once the services are run.
    pub fn open(
        settings: &Settings,
        slots: usize,
        api: &ApiAddress,
    ) -> Result<(Self, Services), NetworkError> {
        let at = |doing| move |source| NetworkError { doing, source };
        if slots > block::SLOTS {
            let many = io::Error::other(format!("{slots} are more than {}", block::SLOTS));
            return Err(at("make networks for so many slots")(many));
        }
        block::sweep().map_err(at("remove the networks of a runner that was killed"))?;
        let block = Block::take(settings.range).map_err(at("find addresses for the slots"))?;
        let has_v6 = forwarding::forwards_v6().map_err(at("read the host's routes"))?;
        if !has_v6 {
            info!("tasks have no network of version 6, as this host does not forward it");
        }
        if forwarding::switch_on().map_err(at("switch on the forwarding of packets"))? {
            let guard = forwarding::GUARD;
            info!(
                "switched on net.ipv4.ip_forward; the rules in {guard} keep this host from routing for others"
            );
        }
        let rules = rules::chains(settings, OURS, &block.link_prefix(), slots, &block.ranges());
        let rules = filter::install_owned(&block.name(), &rules);
        let rules = rules.map_err(at("install the rules for the network of tasks"))?;
        for obstacle in firewall::obstacles().map_err(at("read the host's firewall"))? {
            warn!("tasks may not reach the network: {obstacle}; this lets them: {}", obstacle.remedy());
        }
        // From here on, dropping it cleans up.
        let mut network = Self { block, rules, slots: Vec::with_capacity(slots), has_v6 };
        let own = network.own_addresses().map_err(at("list the addresses of this host"))?;
        let wall = rules::wall(settings, slot::INSIDE, &network.block.ranges(), &own);
        let mut doors = Vec::with_capacity(slots);
        for slot in 0..slots {
            let made = SlotNetwork::create(&network.block, slot, &wall, has_v6, api);
            let (slot, its_doors) = made.map_err(at("make the network of a slot"))?;
            network.slots.push(slot);
            doors.push(its_doors);
        }
        Ok((network, Services { doors, api: api.clone() }))
    }

    /// The addresses of this host, but for those of its loopback, which lead to whoever asks.
    fn own_addresses(&self) -> io::Result<Vec<Prefix>> {
        let own = Links::open()?.addresses()?.into_iter().filter(|address| !address.is_loopback());
        // Once each: the slots of another runner share this host's end of their wires.
        let own: BTreeSet<IpAddr> = own.collect();
        Ok(own.into_iter().map(Prefix::only).collect())
    }

    /// Whether nobody but this runner can remove the rules. Otherwise tasks lose the internet when that happens.
    pub fn keeps_its_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// The networks of a slot.
    pub fn slot(&self, slot: usize) -> Option<&SlotNetwork> {
        self.slots.get(slot)
    }

    /// Whether tasks reach what has an address of version 6.
    pub fn has_v6(&self) -> bool {
        self.has_v6
    }
}

/// What answers behind the doors of the slots.
#[derive(Debug)]
pub struct Services {
    doors: Vec<Doors>,
    api: ApiAddress,
}

impl Services {
    /// Serves all slots for as long as it is polled. To be run by a runtime whose threads are in this host's network.
    pub async fn run(self, resolvers: Resolvers) -> io::Result<()> {
        let resolvers = Arc::new(resolvers);
        let api = Arc::new((self.api.host.trim_matches(['[', ']']).to_owned(), self.api.port));
        let mut services = JoinSet::new();
        for doors in self.doors {
            if let Some(door) = doors.api {
                let (door, api) = (TcpListener::from_std(door)?, api.clone());
                services.spawn(pipe::serve(door, move || connect(api.clone())));
            }
            services.spawn(dns::serve_tcp(TcpListener::from_std(doors.dns)?, resolvers.clone()));
            services.spawn(dns::serve_udp(UdpSocket::from_std(doors.dns_udp)?, resolvers.clone()));
        }
        services.join_all().await;
        Ok(())
    }
}

async fn connect(api: Arc<(String, u16)>) -> io::Result<TcpStream> {
    timeout(pipe::CONNECT, TcpStream::connect((api.0.as_str(), api.1))).await?
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.block.clear(self.rules.take()) {
            warn!(%error, "cannot remove the networks of the slots; the next start will try again");
        }
    }
}
