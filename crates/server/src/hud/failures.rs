//! Failed logins that are being answered: each takes a while, and only so many may be under way, in all and from one
//! address. What is right is never held up, however many fail.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;

/// At once from one address.
const FROM_ONE: usize = 2;

/// At once from everywhere.
const IN_ALL: usize = 64;

/// Those that are being answered, by where they come from.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<Option<IpAddr>, usize>>);

/// One of them; over when dropped.
#[derive(Debug)]
pub(super) struct Turn<'f> {
    failures: &'f Failures,
    from: Option<IpAddr>,
}

impl Failures {
    /// Another one. `None`: there are too many.
    pub(super) fn begin(&self, from: Option<IpAddr>) -> Option<Turn<'_>> {
        let from = from.map(network);
        let mut under_way = self.0.lock();
        let of_one = under_way.get(&from).copied().unwrap_or(0);
        if of_one >= FROM_ONE || under_way.values().sum::<usize>() >= IN_ALL {
            return None;
        }
        under_way.insert(from, of_one + 1);
        Some(Turn { failures: self, from })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.failures.0.lock();
        match under_way.get_mut(&self.from) {
            Some(n) if *n > 1 => *n -= 1,
            _ => drop(under_way.remove(&self.from)),
        }
    }
}

/// Who has an address of version 6 has the 2^64 beside it, too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (!0 << 64)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_turns_of_others() {
        let failures = Failures::default();
        let from = |text: &str| failures.begin(Some(text.parse().unwrap()));
        let first = (from("2001:db8::1"), from("2001:db8::2"));
        assert!(first.0.is_some() && first.1.is_some());
        assert!(from("2001:db8::3").is_none(), "it is the same network");
        let others: Vec<_> = (0..100).filter_map(|n| from(&format!("192.0.2.{n}"))).collect();
        assert_eq!(others.len(), IN_ALL - 2);
        drop(first);
        assert!(from("2001:db8::3").is_some() && failures.begin(None).is_some());
        drop(others);
        assert!(failures.0.lock().is_empty());
    }
}
