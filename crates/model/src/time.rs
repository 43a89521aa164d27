//! Instants: milliseconds since the Unix epoch, and the one text form they have on the wire.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What clients read as "not set".
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// An instant in UTC, to the millisecond. As a number in JSON between our own parts; as text for clients ([`Wire`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `ms` milliseconds after the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// The instant `seconds` after the Unix epoch.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later, as clocks may step back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC with exactly three fraction digits, the form every client reads.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => f.write_str(ZERO_TIME),
        }
    }
}

/// The text is not an RFC 3339 instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is RFC 3339, such as 2026-01-31T12:00:00Z")]
pub struct InvalidTime;

/// Reads RFC 3339 with any offset and up to nine fraction digits; what is finer than a millisecond is cut off.
impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        text.trim().parse::<jiff::Timestamp>().map(|t| Self(t.as_millisecond())).map_err(|_| InvalidTime)
    }
}

/// An instant that may be unset, as clients read it: never null, never empty, never left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Wire(pub Option<Timestamp>);

impl From<Timestamp> for Wire {
    fn from(t: Timestamp) -> Self {
        Wire(Some(t))
    }
}

impl Serialize for Wire {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(t) => serializer.collect_str(&t),
            None => serializer.serialize_str(ZERO_TIME),
        }
    }
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?.unwrap_or_default();
        if text.is_empty() || text.starts_with("0001-01-01T") {
            return Ok(Wire(None));
        }
        text.parse().map(|t| Wire(Some(t))).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_fraction_digits_always() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(1_592_905_667_850).to_string(), "2020-06-23T09:47:47.850Z");
    }

    #[test]
    fn every_clients_form_is_read() {
        let at = Timestamp::from_millis(1_592_905_667_850);
        for text in
            ["2020-06-23T09:47:47.85Z", "2020-06-23T11:47:47.850+02:00", "2020-06-23T09:47:47.850123456Z"]
        {
            assert_eq!(text.parse(), Ok(at), "{text}");
        }
        assert_eq!("tomorrow".parse::<Timestamp>(), Err(InvalidTime));
    }

    #[test]
    fn unset_is_the_zero_time_both_ways() {
        assert_eq!(serde_json::to_string(&Wire(None)).unwrap(), format!("\"{ZERO_TIME}\""));
        for text in ["null", "\"\"", "\"0001-01-01T00:00:00Z\""] {
            assert_eq!(serde_json::from_str::<Wire>(text).unwrap(), Wire(None));
        }
    }
}
