//! Times and sizes as people write them.

use std::time::Duration;

const TIMES: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

const SIZES: [(&str, u64); 7] = [
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gib", 1 << 30),
];

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

/// A size such as `1024`, `64KiB`, `256 MiB`; a plain number is in bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as 64KiB or 256MiB");
    let (number, unit) = number(text.trim()).ok_or_else(wrong)?;
    let unit = unit.trim().to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1,
    };
    let size = number * factor as f64;
    if size < u64::MAX as f64 { Ok(size as u64) } else { Err(wrong()) }
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

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, size) in
            [("17", 17), ("64KiB", 65_536), ("256 MiB", 1 << 28), ("2g", 2 << 30), ("0.5k", 512)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "big", "-1", "1 parsec"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
