//! Times and sizes as people write them.

use std::time::Duration;

use windlass_model::size;

const TIMES: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

/// A time such as `90`, `1.5s`, `1h30m`, `7d`; a plain number is in seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time such as 90s, 1h30m or 7d");
    let mut rest = text.trim();
    let mut seconds = match number(rest) {
        Some((seconds, "")) => return Duration::try_from_secs_f64(seconds).map_err(|_| wrong()),
        Some(_) => 0.0,
        None => return Err(wrong()),
    };
    while !rest.is_empty() {
        let (number, after) = number(rest).ok_or_else(wrong)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        seconds += number * TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        rest = next.trim_start();
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// `true` or `false`.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

/// A size such as `1024`, `64KiB`, `256 MiB`; a plain number is in bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    size::parse(text).map_err(|e| format!("{text:?} {e}"))
}

fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in [
            ("90", 90_000),
            ("1.5s", 1_500),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("7d", 604_800_000),
            ("250ms", 250),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "soon", "-1s", "1x", "1h30", "s", "1..2s", "1e400d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
