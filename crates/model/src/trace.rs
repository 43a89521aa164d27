//! The trace that a request belongs to: the header `traceparent` of the W3C recommendation Trace Context.
//!
//! Windlass takes part by passing it on: what came with the request that queues a task goes to the task's worker as
//! `TRACEPARENT`, and from there, if the worker queues, to its own tasks. It makes no spans, so the id of the parent
//! stays that of whoever asked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A trace, and the span in it that asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: [u8; 16],
    parent: [u8; 8],
    flags: u8,
}

/// The text is no `traceparent`. Whoever gets one does as if there were none: tracing must not decide what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is 00-TRACE-PARENT-FLAGS in lower-case hexadecimal digits, with neither id zero")]
pub struct InvalidTraceParent;

/// What every version that is still to come keeps of the flags.
const SAMPLED: u8 = 1;
/// Digits and dashes of version 00.
const LENGTH: usize = 55;

impl TraceParent {
    /// Bytes of [`TraceParent::to_bytes`].
    pub const BYTES: usize = 25;

    /// The trace, the parent and the flags, one after the other.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..24].copy_from_slice(&self.parent);
        bytes[24] = self.flags;
        bytes
    }

    /// What [`TraceParent::to_bytes`] made.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, parent @ .., flags] = bytes;
        Self { trace: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p], parent, flags }
    }
}

/// By the recommendation: version `ff` is none; version `00` has its four fields and nothing after them; a later one is
/// read as if it were `00`, may have `-` and more, and only its flag `sampled` is known.
impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let bytes = text.as_bytes();
        let fields = bytes.get(..LENGTH).ok_or(InvalidTraceParent)?;
        let [version] = hex(&fields[..2])?;
        let is_whole = bytes.len() == LENGTH || (version > 0 && bytes[LENGTH] == b'-');
        let trace: [u8; 16] = hex(&fields[3..35])?;
        let parent: [u8; 8] = hex(&fields[36..52])?;
        let [flags] = hex(&fields[53..])?;
        let is_apart = [2, 35, 52].iter().all(|&at| fields[at] == b'-');
        if !is_whole || !is_apart || version == 0xff || trace == [0; 16] || parent == [0; 8] {
            return Err(InvalidTraceParent);
        }
        let flags = if version == 0 { flags } else { flags & SAMPLED };
        Ok(Self { trace, parent, flags })
    }
}

fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], InvalidTraceParent> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Ok(b - b'0'),
        b'a'..=b'f' => Ok(b - b'a' + 10),
        _ => Err(InvalidTraceParent),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, parent) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.parent));
        write!(f, "00-{trace:032x}-{parent:016x}-{:02x}", self.flags)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceParent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(text: &str) -> Option<String> {
        text.parse::<TraceParent>().ok().map(|trace| trace.to_string())
    }

    #[test]
    fn what_has_the_form_is_passed_on_as_it_came() {
        for good in [GOOD, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"] {
            assert_eq!(read(good).as_deref(), Some(good));
        }
    }

    #[test]
    fn a_later_version_is_read_as_version_00() {
        for later in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-",
        ] {
            assert_eq!(read(later).as_deref(), Some(GOOD), "{later}");
        }
    }

    #[test]
    fn what_has_not_the_form_is_refused() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473600-f067aa0ba902b7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,70}") {
            let _ = read(&text);
        }

        #[test]
        fn it_survives_its_bytes_and_its_text(trace in 1u128.., parent in 1u64.., flags: u8) {
            let (trace, parent) = (trace.to_be_bytes(), parent.to_be_bytes());
            let it = TraceParent { trace, parent, flags };
            prop_assert_eq!(TraceParent::from_bytes(it.to_bytes()), it);
            prop_assert_eq!(it.to_string().parse(), Ok(it));
        }
    }
}
