//! Ids: 24 hexadecimal digits, ordered by time and not guessable.
//!
//! The first 16 digits are a [`Seq`]: 42 bits of milliseconds since the Unix epoch, then 21 bits that count within
//! the millisecond. The last 8 are a random tag that is stored with the row and compared on lookup. So an id *is*
//! the primary key, names the partition of its row, sorts by age, and cannot be made up from its neighbours.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

const COUNTER_BITS: u32 = 21;

/// The time-ordered part of an id: a positive 63-bit integer, unique within a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(pub i64);

impl Seq {
    /// The lowest `Seq` that can be minted at `at`; a bound for range queries by creation time.
    pub fn at(at: Timestamp) -> Self {
        let ms = at.as_millis().clamp(0, (1 << 42) - 1);
        Seq(ms << COUNTER_BITS)
    }

    /// The millisecond it was minted in, as the minting clock had it.
    pub fn created_at(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> COUNTER_BITS)
    }
}

/// Hands out [`Seq`]s that only ever rise, also when the clock steps back.
#[derive(Clone, Debug, Default)]
pub struct SeqClock {
    last: i64,
    /// What each of its `Seq`s is by [`NODES`], if it has company.
    node: Option<u8>,
}

/// Clocks that may hand out [`Seq`]s at the same time without meeting.
const NODES: i64 = 256;

impl SeqClock {
    /// A clock whose next `Seq` is above `newest`, the highest one a store already holds.
    pub fn after(newest: Seq) -> Self {
        Self { last: newest.0, node: None }
    }

    /// The same for one of several that mint at once: no two with different `node`s hand out the same.
    pub fn of_node(node: Option<u8>, newest: Seq) -> Self {
        Self { last: newest.0, node }
    }

    /// The next `Seq`: `now` while time moves forward, one more than the last otherwise.
    pub fn next(&mut self, now: Timestamp) -> Seq {
        self.last = Seq::at(now).0.max(self.last + 1);
        if let Some(node) = self.node {
            self.last += (i64::from(node) - self.last).rem_euclid(NODES);
        }
        Seq(self.last)
    }
}

/// A [`Seq`] with its random tag; on the wire 24 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The time-ordered key.
    pub seq: Seq,
    /// Makes the id unguessable; compared on lookup.
    pub tag: u32,
}

/// The text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 24 hexadecimal digits")]
pub struct InvalidId;

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() != 24 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidId);
        }
        let seq = i64::from_str_radix(&text[..16], 16).map_err(|_| InvalidId)?;
        let tag = u32::from_str_radix(&text[16..], 16).map_err(|_| InvalidId)?;
        Ok(Id { seq: Seq(seq), tag })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.seq.0, self.tag)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Id);

        impl $name {
            /// The time-ordered key.
            pub fn seq(self) -> Seq {
                self.0.seq
            }

            /// The id made of a minted `seq` and a random `tag`.
            pub fn new(seq: Seq, tag: u32) -> Self {
                Self(Id { seq, tag })
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

ids! {
    /// Names a task; the same over all its attempts.
    TaskId;
    /// Names a code package over all its revisions.
    CodeId;
    /// Names one revision of a code package (IronWorker's "history id").
    RevisionId;
    /// Names a project.
    ProjectId;
    /// Names a schedule.
    ScheduleId;
    /// Names a token, without being one.
    TokenId;
    /// Names a cluster of runners.
    ClusterId;
    /// Names one session of a runner: a runner that starts again is a new one.
    RunnerId;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clocks_that_mint_at_once_do_not_meet() {
        let now = Timestamp::from_secs(1_700_000_000);
        let mut seen = std::collections::BTreeSet::new();
        for node in [0, 1, 255] {
            let mut clock = SeqClock::of_node(Some(node), Seq::at(now));
            let seqs: Vec<Seq> = (0..1000).map(|_| clock.next(now)).collect();
            assert!(seqs.is_sorted() && seqs[999].created_at() == now);
            seen.extend(seqs);
        }
        assert_eq!(seen.len(), 3000);
    }

    #[test]
    fn a_clock_that_steps_back_still_mints_rising_ids() {
        let mut clock = SeqClock::default();
        let first = clock.next(Timestamp::from_millis(5_000));
        let second = clock.next(Timestamp::from_millis(4_000));
        assert!(second > first);
        assert_eq!(second.created_at().as_millis(), 5_000);
    }

    #[test]
    fn anything_but_24_hex_digits_is_refused() {
        for text in
            ["", "abc", "00000000000000000000000g", "+00000000000000000000000", "ffffffffffffffffffffffff"]
        {
            assert_eq!(text.parse::<Id>(), Err(InvalidId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text(seq in 0i64.., tag: u32) {
            let id = Id { seq: Seq(seq), tag };
            prop_assert_eq!(id.to_string().len(), 24);
            prop_assert_eq!(id.to_string().parse::<Id>(), Ok(id));
        }
    }
}
