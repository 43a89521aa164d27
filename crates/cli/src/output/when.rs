//! Instants and times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windlass_model::time::{Timestamp, Wire};

/// Now, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// How far `at` is from `now`: `3 min ago`, `in 2 h`; `-` if unset.
pub(crate) fn relative(at: Wire, now: Timestamp) -> String {
    match at.0 {
        None => "-".to_owned(),
        Some(at) if at > now => format!("in {}", rough(at.since(now))),
        Some(at) if now.since(at) < Duration::from_secs(1) => "now".to_owned(),
        Some(at) => format!("{} ago", rough(now.since(at))),
    }
}

/// `at` in full with how far it is: `2026-01-31T12:00:00.000Z (3 min ago)`.
pub(crate) fn absolute(at: Wire, now: Timestamp) -> String {
    match at.0 {
        None => "-".to_owned(),
        Some(instant) => format!("{instant} ({})", relative(at, now)),
    }
}

/// A time in its largest unit, to the nearest: `42 s`, `3 min`.
pub(crate) fn rough(time: Duration) -> String {
    let s = (time.as_millis() + 500) / 1000;
    match s {
        0..=59 => format!("{s} s"),
        60..=3569 => format!("{} min", (s + 30) / 60),
        3570..=84_599 => format!("{} h", (s + 1800) / 3600),
        _ => format!("{} d", (s + 43_200) / 86_400),
    }
}

/// A measured time: `12 ms`, `1.2 s`, `3 min 20 s`.
pub(crate) fn measured(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=59_999 => format!("{:.1} s", time.as_secs_f64()),
        60_000..=3_599_999 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A size: `512 B`, `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    windlass_model::size::show(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        let now = Timestamp::from_secs(1_000_000);
        let at = |s: i64| Wire(Some(Timestamp::from_secs(1_000_000 + s)));
        assert_eq!(relative(Wire(None), now), "-");
        assert_eq!(relative(at(0), now), "now");
        assert_eq!(relative(at(-125), now), "2 min ago");
        assert_eq!(relative(at(7_200), now), "in 2 h");
        assert_eq!(relative(at(3_599), now), "in 1 h");
        assert_eq!(relative(at(86_399), now), "in 1 d");
        assert_eq!(absolute(at(-2), now), "1970-01-12T13:46:38.000Z (2 s ago)");
        assert_eq!(measured(Duration::from_millis(1_234)), "1.2 s");
        assert_eq!(measured(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!((size(512), size(3 << 19)), ("512 B".to_owned(), "1.5 MiB".to_owned()));
    }
}
