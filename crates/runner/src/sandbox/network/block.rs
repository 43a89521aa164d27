//! Which addresses a runner gives to its slots: a block of the range that nobody else uses.
//!
//! Several runners may share a host. Each holds a block for as long as it lives, by a name that the kernel gives back
//! when a process dies, however it dies. So whatever is there of a block that nobody holds was left by the dead.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread;
use std::time::{Duration, Instant};

use super::filter::{self, Owner};
use super::link::Links;
use super::prefix::Prefix;

/// What the names of all our links, tables and locks begin with.
pub(super) const OURS: &str = "windlass";

/// Bits that the addresses of a block have in common.
const BLOCK: u8 = 22;

/// Most slots of a runner: their number has three digits in the names of links, which are short.
pub(super) const SLOTS: usize = 1000;

/// Most blocks of a range, for the same reason.
const BLOCKS: u32 = 1000;

/// How long the kernel is given to remove the rules of a runner that has ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// Addresses for the slots of one runner. Held until it is dropped.
#[derive(Debug)]
pub(super) struct Block {
    number: u16,
    first: Ipv4Addr,
    _lock: UnixDatagram,
}

impl Block {
    /// Takes the first block of the range that neither another runner holds nor this host's addresses or routes touch.
    pub(super) fn take(range: Prefix) -> io::Result<Self> {
        let IpAddr::V4(base) = range.address() else {
            return Err(io::Error::other(format!("the range of slots, {range}, must be of version 4")));
        };
        let Some(bits) = BLOCK.checked_sub(range.length()) else {
            let need =
                format!("the range of slots, {range}, is too small: it needs a /{BLOCK} for each runner");
            return Err(io::Error::other(need));
        };
        let known = Links::open()?.known()?;
        for number in 0..1u32.checked_shl(bits.into()).unwrap_or(BLOCKS).min(BLOCKS) {
            let first = Ipv4Addr::from_bits(base.to_bits() + (number << (32 - BLOCK)));
            let block = Prefix::new(first.into(), BLOCK).expect("blocks begin where they should");
            if known.iter().any(|range| range.overlaps(&block)) {
                continue;
            }
            let number = u16::try_from(number).expect("there are few blocks");
            if let Some(lock) = lock(number)? {
                // Its last holder may have been killed just now.
                clear(number, None)?;
                return Ok(Self { number, first, _lock: lock });
            }
        }
        Err(io::Error::other(format!("every block of the range of slots, {range}, is in use on this host")))
    }

    /// Removes its links and rules, which are `owner`'s if there is one.
    pub(super) fn clear(&self, owner: Option<Owner>) -> io::Result<()> {
        clear(self.number, owner)
    }

    /// The name of what belongs to this block: `windlass3`.
    pub(super) fn name(&self) -> String {
        name(self.number)
    }

    /// What the names of its links begin with, before the number of the slot.
    pub(super) fn link_prefix(&self) -> String {
        format!("{}-", self.name())
    }

    /// The addresses of its slots.
    pub(super) fn ranges(&self) -> [Prefix; 2] {
        let v4 = Prefix::new(self.first.into(), BLOCK);
        let v6 = Prefix::new(self.v6(0).into(), 64);
        [v4, v6].map(|range| range.expect("blocks begin where they should"))
    }

    /// This host, as slots see it.
    pub(super) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() + 1)
    }

    /// The addresses of a slot.
    pub(super) fn slot(&self, slot: usize) -> (Ipv4Addr, Ipv6Addr) {
        let number = u16::try_from(slot).expect("there are few slots") + 2;
        (Ipv4Addr::from_bits(self.first.to_bits() + u32::from(number)), self.v6(number))
    }

    fn v6(&self, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd57, 0x696e, 0x646c, self.number, 0, 0, 0, host)
    }
}

fn name(number: u16) -> String {
    format!("{OURS}{number}")
}

/// Takes the name of a block; `None` if somebody has it.
fn lock(number: u16) -> io::Result<Option<UnixDatagram>> {
    let address = SocketAddr::from_abstract_name(format!("{}/network", name(number)))?;
    match UnixDatagram::bind_addr(&address) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes what runners left that were killed. Those that are alive hold their blocks and are left alone.
pub(super) fn sweep() -> io::Result<()> {
    let links = Links::open()?.all()?;
    let of_links = links.iter().filter_map(|link| number_of(&link.name));
    let tables = filter::tables()?;
    let left: BTreeSet<u16> =
        of_links.chain(tables.iter().filter_map(|table| number_of_table(table))).collect();
    for number in left {
        if let Some(_lock) = lock(number)? {
            clear(number, None)?;
        }
    }
    Ok(())
}

/// Removes the links and rules of a block, which the caller holds: links first, so that no moment is without rules.
fn clear(number: u16, owner: Option<Owner>) -> io::Result<()> {
    let links = Links::open()?;
    for link in links.all()?.iter().filter(|link| number_of(&link.name) == Some(number)) {
        gone(links.remove(link.index))?;
    }
    drop(owner);
    // Asking costs nothing, and removing what is not there ten milliseconds.
    if !filter::tables()?.contains(&name(number)) {
        return Ok(());
    }
    // Of somebody who is just being ended, the kernel is about to remove it.
    let start = Instant::now();
    loop {
        match gone(filter::remove(&name(number))) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            removed => return removed,
        }
    }
}

/// That something is not there any more is as good as removing it.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(()),
        other => other,
    }
}

/// The block that a link of this name belongs to.
fn number_of(link: &str) -> Option<u16> {
    let (number, slot) = link.strip_prefix(OURS)?.split_once('-')?;
    slot.parse::<u16>().ok()?;
    number.parse().ok()
}

fn number_of_table(table: &str) -> Option<u16> {
    table.strip_prefix(OURS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_told_by_its_name() {
        assert_eq!(number_of("windlass12-3"), Some(12));
        for other in ["windlass", "windlass12", "windlass12-", "windlass-3", "windlassx-1", "eth0", "wlan0"] {
            assert_eq!(number_of(other), None, "{other}");
        }
        assert_eq!(number_of_table("windlass7"), Some(7));
        assert_eq!(number_of_table("windlass-guard"), None);
        assert!(
            format!("{OURS}{}-{}", BLOCKS - 1, SLOTS - 1).len() < 16,
            "names of links have 15 characters"
        );
    }
}
