//! Ranges of addresses, as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The range that `address` begins; `None` if it is not the first of a range of that length.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        Self::around(address, length).filter(|range| range.address == address)
    }

    /// This address alone.
    pub fn only(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// The range of the addresses that begin as `address` does for `length` bits; `None` if it has not that many.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(address) if length <= 32 => {
                Ipv4Addr::from_bits(address.to_bits() & !u32::MAX.checked_shr(length.into()).unwrap_or(0))
                    .into()
            }
            IpAddr::V6(address) if length <= 128 => {
                Ipv6Addr::from_bits(address.to_bits() & !u128::MAX.checked_shr(length.into()).unwrap_or(0))
                    .into()
            }
            _ => return None,
        };
        Some(Self { address, length })
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits all addresses have in common.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differ = first.to_bits() ^ address.to_bits();
                differ.checked_shr(32 - u32::from(self.length)).unwrap_or(0) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differ = first.to_bits() ^ address.to_bits();
                differ.checked_shr(128 - u32::from(self.length)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The bits that all addresses have in common, as ones.
    pub(super) fn mask(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(_) => (!u32::MAX.checked_shr(self.length.into()).unwrap_or(0)).to_be_bytes().to_vec(),
            IpAddr::V6(_) => (!u128::MAX.checked_shr(self.length.into()).unwrap_or(0)).to_be_bytes().to_vec(),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.length) {
            (IpAddr::V4(address), 32) => write!(f, "{address}"),
            (IpAddr::V6(address), 128) => write!(f, "{address}"),
            (address, length) => write!(f, "{address}/{length}"),
        }
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let odd = || format!("`{text}` is no range of addresses, such as 10.0.0.0/8 or fd00::/8");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| odd())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| odd())?;
        let length = length.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
        let range = Self::around(address, length).ok_or_else(odd)?;
        if range.address == address {
            Ok(range)
        } else {
            Err(format!("`{text}` does not begin with its first address: `{range}` does"))
        }
    }
}

/// What a task may reach although it is in a range that is denied: `10.1.0.0/16`, or one port: `10.1.2.3:5432`,
/// `[fd00::7]:5432`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Allowed {
    /// Where.
    pub prefix: Prefix,
    /// The one port of TCP and UDP; none: everything.
    pub port: Option<u16>,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => self.prefix.fmt(f),
            Some(port) => SocketAddr::new(self.prefix.address, port).fmt(f),
        }
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let ip = address.ip();
            let prefix = Prefix { address: ip, length: if ip.is_ipv4() { 32 } else { 128 } };
            return Ok(Self { prefix, port: Some(address.port()) });
        }
        match text.parse() {
            Ok(prefix) => Ok(Self { prefix, port: None }),
            Err(why) if text.contains('/') => Err(why),
            Err(_) => Err(format!(
                "`{text}` is neither a range of addresses, such as 10.1.0.0/16, nor an address with a port, such as \
                 10.1.2.3:5432"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_are_read_and_written_as_people_do() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "1.2.3.4", "fc00::/7", "::/0", "::1", "255.255.255.255"] {
            assert_eq!(prefix(text).to_string(), text);
        }
        assert_eq!(prefix("1.2.3.4/32"), prefix("1.2.3.4"));
        for text in ["", "10", "10.0.0.0/33", "::/129", "example.com", "10.0.0.0/8/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
        let why = "10.1.2.3/8".parse::<Prefix>().unwrap_err();
        assert!(why.ends_with("`10.0.0.0/8` does"), "{why}");
        assert!("fd00::1/64".parse::<Prefix>().unwrap_err().contains("`fd00::/64`"));
    }

    #[test]
    fn a_range_holds_the_addresses_that_begin_alike() {
        let holds = |range: &str, address: &str| prefix(range).contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("0.0.0.0/0", "9.9.9.9") && !holds("0.0.0.0/0", "::9"));
        assert!(holds("fe80::/10", "febf::1") && !holds("fe80::/10", "fec0::1"));
        assert!(holds("1.2.3.4", "1.2.3.4") && !holds("1.2.3.4", "1.2.3.5"));
        assert!(prefix("10.0.0.0/8").overlaps(&prefix("10.3.0.0/16")));
        assert!(prefix("10.3.0.0/16").overlaps(&prefix("0.0.0.0/0")));
        assert!(!prefix("10.3.0.0/16").overlaps(&prefix("10.4.0.0/16")));
        assert_eq!(prefix("10.0.0.0/9").mask(), [255, 128, 0, 0]);
        assert_eq!((prefix("0.0.0.0/0").mask(), prefix("1.2.3.4").mask()), (vec![0; 4], vec![255; 4]));
        assert_eq!((prefix("::/0").mask(), prefix("::1").mask()), (vec![0; 16], vec![255; 16]));
    }

    #[test]
    fn an_exception_is_a_range_or_a_port() {
        for text in ["10.1.0.0/16", "10.1.2.3:5432", "[fd00::7]:5432", "fd00::7"] {
            assert_eq!(text.parse::<Allowed>().unwrap().to_string(), text);
        }
        for text in ["db.example.com:5432", "10.1.0.0/16:80", "10.1.2.3:99999", ":80"] {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }
}
