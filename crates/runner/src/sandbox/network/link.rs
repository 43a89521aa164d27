//! Links, addresses and routes.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::netlink::{CREATE, EXCLUSIVE, Message, Netlink, attributes, text};
use super::prefix::Prefix;

/// Kinds of messages.
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;

/// The header of a message about a link: which one, and that it is to be up.
fn about_link(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        header[8..12].copy_from_slice(&1u32.to_ne_bytes());
        header[12..16].copy_from_slice(&1u32.to_ne_bytes());
    }
    header
}

/// A link, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
}

/// Speaks of the links of the namespace of the thread that opened it.
pub(super) struct Links(Netlink);

impl Links {
    pub(super) fn open() -> io::Result<Self> {
        Netlink::route().map(Self)
    }

    /// All links.
    pub(super) fn all(&self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.0.list(Message::new(GET_LINK, 0, &about_link(0, false)), |body| {
            let Some((header, rest)) = body.split_first_chunk::<16>() else { return };
            let index = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
            let name = attributes(rest).find(|(kind, _)| *kind == 3).map(|(_, name)| text(name));
            links.extend(name.map(|name| Link { index, name }));
        })?;
        Ok(links)
    }

    /// The number of the link of this name.
    pub(super) fn index(&self, name: &str) -> io::Result<u32> {
        let found = self.all()?.into_iter().find(|link| link.name == name);
        found.map(|link| link.index).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Makes a pair of links that are the two ends of one wire: `name` here and `peer_name` in another namespace.
    pub(super) fn create_pair(&self, name: &str, peer_name: &str, peer: BorrowedFd<'_>) -> io::Result<()> {
        let mut message = Message::new(NEW_LINK, CREATE | EXCLUSIVE, &about_link(0, false));
        message.put_text(3, name).nest(18, |link| {
            link.put(1, b"veth").nest(2, |data| {
                data.nest(1, |end| {
                    let end = end.raw(&about_link(0, false)).put_text(3, peer_name);
                    end.put(28, &peer.as_raw_fd().to_ne_bytes())
                })
            })
        });
        self.0.ask(message)
    }

    /// Switches a link on.
    pub(super) fn up(&self, index: u32) -> io::Result<()> {
        self.0.ask(Message::new(NEW_LINK, 0, &about_link(index, true)))
    }

    /// Removes a link, with its other end.
    pub(super) fn remove(&self, index: u32) -> io::Result<()> {
        self.0.ask(Message::new(DELETE_LINK, 0, &about_link(index, false)))
    }

    /// Gives a link an address of its own, with nobody else on its network.
    pub(super) fn add_address(&self, index: u32, address: IpAddr) -> io::Result<()> {
        let (family, bytes) = bytes(address);
        let (universe, link, no_detection) = (0, 253, 2);
        let scope = if is_link_local(address) { link } else { universe };
        let length = u8::try_from(bytes.len() * 8).expect("an address is short");
        let header = [&[family, length, no_detection, scope][..], &index.to_ne_bytes()].concat();
        let mut message = Message::new(NEW_ADDRESS, CREATE | EXCLUSIVE, &header);
        message.put(1, &bytes).put(2, &bytes);
        self.0.ask(message)
    }

    /// Sends what goes to `to` over a link: to its other end itself, or to the router `via`.
    pub(super) fn add_route(&self, to: Prefix, index: u32, via: Option<IpAddr>) -> io::Result<()> {
        const MAIN: u8 = 254;
        const STATIC: u8 = 4;
        const UNICAST: u8 = 1;
        let (family, bytes_to) = bytes(to.address());
        let scope = if via.is_none() && family == AF_INET { 253 } else { 0 };
        let header = [family, to.length(), 0, 0, MAIN, STATIC, scope, UNICAST, 0, 0, 0, 0];
        let mut message = Message::new(NEW_ROUTE, CREATE | EXCLUSIVE, &header);
        if to.length() > 0 {
            message.put(1, &bytes_to);
        }
        message.put(4, &index.to_ne_bytes());
        if let Some(via) = via {
            message.put(5, &bytes(via).1);
        }
        self.0.ask(message)
    }

    /// The addresses of this host.
    pub(super) fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let mut own = Vec::new();
        self.0.list(Message::new(GET_ADDRESS, 0, &[0; 8]), |body| {
            let Some((_, rest)) = body.split_first_chunk::<8>() else { return };
            // Its own end, where the attribute is there; what is said of the other end is not its own.
            let of =
                |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).and_then(|(_, to)| address(to));
            own.extend(of(2).or_else(|| of(1)));
        })?;
        Ok(own)
    }

    /// Every range that this host is in or has a route to, except for everything.
    pub(super) fn known(&self) -> io::Result<Vec<Prefix>> {
        let mut known = Vec::new();
        for (kind, length_of_header) in [(GET_ADDRESS, 8), (GET_ROUTE, 12)] {
            self.0.list(Message::new(kind, 0, &[0; 12][..length_of_header]), |body| {
                let Some((header, rest)) = body.split_at_checked(length_of_header) else { return };
                let address = attributes(rest).find(|(kind, _)| *kind == 1).and_then(|(_, to)| address(to));
                let range = address.and_then(|address| Prefix::around(address, header[1]));
                known.extend(range.filter(|range| range.length() > 0));
            })?;
        }
        Ok(known)
    }

    /// The links that the default routes of version 6 lead over.
    pub(super) fn default_links_v6(&self) -> io::Result<Vec<u32>> {
        let mut links = Vec::new();
        let header = [AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.0.list(Message::new(GET_ROUTE, 0, &header), |body| {
            let Some((header, rest)) = body.split_first_chunk::<12>() else { return };
            const UNICAST: u8 = 1;
            if header[0] == AF_INET6 && header[1] == 0 && header[7] == UNICAST {
                let link = attributes(rest).find(|(kind, _)| *kind == 4);
                links.extend(link.and_then(|(_, index)| Some(u32::from_ne_bytes(*index.first_chunk()?))));
            }
        })?;
        Ok(links)
    }
}

const AF_INET: u8 = libc::AF_INET.to_le_bytes()[0];
const AF_INET6: u8 = libc::AF_INET6.to_le_bytes()[0];

fn bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
