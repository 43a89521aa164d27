//! Values as people read them.

use std::fmt;
use std::time::Duration;

use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_store::types::Counts;

/// A time: how long ago or until then, and the instant itself for whoever points at it.
///
/// `live.js` keeps the words true and shows the instant in the browser's zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    at: Timestamp,
    now: Timestamp,
}

impl When {
    /// `at` as seen at `now`.
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }

    /// The instant.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// The instant, for machines.
    pub(super) fn instant(&self) -> String {
        self.at.to_string()
    }

    /// The instant, for people.
    pub(super) fn full(&self) -> String {
        let text = self.at.to_string();
        // 2026-01-31T12:00:00.000Z
        match text.split_once('T') {
            Some((day, time)) => format!("{day} {} UTC", time.split('.').next().unwrap_or(time)),
            None => text,
        }
    }
}

/// `just now`, `5 s ago`, `in 3 min`.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (past, future) = (self.now.since(self.at), self.at.since(self.now));
        if past.max(future) < Duration::from_secs(1) {
            f.write_str("just now")
        } else if future.is_zero() {
            write!(f, "{} ago", rough(past))
        } else {
            write!(f, "in {}", rough(future))
        }
    }
}

/// A duration in its largest unit.
pub(super) fn rough(span: Duration) -> String {
    match span.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..86_400 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// A duration with three digits or so: `430 µs`, `12 ms`, `3.21 s`, `4 min 05 s`, `3 h 20 min`.
pub(super) fn span(span: Duration) -> String {
    let (us, s) = (span.as_micros(), span.as_secs_f64());
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..10_000_000 => format!("{s:.2} s"),
        10_000_000..60_000_000 => format!("{s:.1} s"),
        60_000_000..3_600_000_000 => format!("{} min {:02} s", span.as_secs() / 60, span.as_secs() % 60),
        _ => format!("{} h {:02} min", span.as_secs() / 3600, span.as_secs() / 60 % 60),
    }
}

/// The same of milliseconds.
pub(super) fn span_ms(ms: u64) -> String {
    span(Duration::from_millis(ms))
}

/// `512 B`, `1.5 KiB`, `34 MiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut size = n as f64;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 || size >= 10.0 {
        format!("{size:.0} {}", UNITS[unit])
    } else {
        format!("{size:.1} {}", UNITS[unit])
    }
}

/// `1 234 567`, with spaces that do not break.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// `1 task`, `2 tasks`.
pub(super) fn counted(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// The beginning of a text on one line.
pub(super) fn line(text: &str, most: usize) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

/// Tasks whose status needs a look.
pub(super) fn failures(counts: &Counts) -> u64 {
    Status::ALL.into_iter().filter(|&s| is_failure(s)).map(|s| counts.get(s)).sum()
}

/// The statuses that need a look.
pub(super) fn is_failure(status: Status) -> bool {
    matches!(status, Status::Error | Status::Timeout | Status::Killed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_readable() {
        let at = |s| When::new(Timestamp::from_secs(s), Timestamp::from_secs(10_000)).to_string();
        assert_eq!(
            [at(10_000), at(9_995), at(10_190), at(0)],
            ["just now", "5 s ago", "in 3 min", "2 h ago"]
        );
        assert_eq!(
            When::new(Timestamp::from_secs(0), Timestamp::from_secs(0)).full(),
            "1970-01-01 00:00:00 UTC"
        );
        let spans = [430, 12_300, 3_214_000, 45_600_000, 245_000_000, 12_000_000_000];
        let shown = spans.map(|us| span(Duration::from_micros(us)));
        assert_eq!(shown, ["430 µs", "12 ms", "3.21 s", "45.6 s", "4 min 05 s", "3 h 20 min"]);
        assert_eq!([512, 1_536, 35_651_584].map(bytes), ["512 B", "1.5 KiB", "34 MiB"]);
        assert_eq!(
            (count(1_234_567), counted(1, "task")),
            ("1\u{202f}234\u{202f}567".into(), "1 task".into())
        );
        assert_eq!(line("a\n  b  c", 3), "a b…");
    }
}
