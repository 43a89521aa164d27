//! Sizes as people write and read them.

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tib", 1 << 40),
];

/// The text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a size such as 64KiB or 256MiB")]
pub struct NotASize;

/// The bytes that a text such as `1024`, `64KiB`, `256 MiB` or `1.5G` means. Units are powers of two; a plain number is
/// in bytes.
pub fn parse(text: &str) -> Result<u64, NotASize> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| NotASize)?;
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotASize)?;
    let size = number * *factor as f64;
    if size < u64::MAX as f64 { Ok(size as u64) } else { Err(NotASize) }
}

/// The size in its largest whole unit, with one decimal where that says more: `512 MiB`, `1.5 GiB`, `17 B`.
pub fn show(bytes: u64) -> String {
    let (unit, factor) = match bytes {
        0..1024 => return format!("{bytes} B"),
        1024..1_048_576 => ("KiB", 1 << 10),
        1_048_576..1_073_741_824 => ("MiB", 1 << 20),
        _ => ("GiB", 1 << 30),
    };
    let tenths = u128::from(bytes) * 10 / factor;
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, size) in
            [("17", 17), ("64KiB", 65_536), ("256 MiB", 1 << 28), ("2g", 2 << 30), ("0.5k", 512)]
        {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for text in ["", "big", "-1", "1 parsec", "9999999999T"] {
            assert_eq!(parse(text), Err(NotASize), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_as_people_read_them() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (512 << 20, "512 MiB"),
            (3 << 29, "1.5 GiB"),
            ((64 << 20) - 1, "63.9 MiB"),
            (4096, "4 KiB"),
        ] {
            assert_eq!(show(size), text);
        }
    }
}
