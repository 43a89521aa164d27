//! What goes wrong on the site. Real sites have such pages every day.

/// What is wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no page.
    Missing,
    /// It stops within a period.
    CutOff,
    /// All there, but the end mark.
    NoEndMark,
    /// Its zone line is lost.
    NoZoneLine,
    /// It is not text.
    Binary,
    /// A notice in HTML stands where it should be.
    WebPage,
    /// It is empty.
    Empty,
}

impl Fault {
    pub(super) const ALL: [Self; 7] = [
        Self::Missing,
        Self::CutOff,
        Self::NoEndMark,
        Self::NoZoneLine,
        Self::Binary,
        Self::WebPage,
        Self::Empty,
    ];

    /// Does to a good page what this fault stands for.
    pub(super) fn spoil(self, zone: &str, page: &str) -> Option<Vec<u8>> {
        let until = |end: usize| page.as_bytes().get(..end).unwrap_or_default().to_vec();
        let end_mark = page.rfind("$$").unwrap_or(page.len());
        let last_period = page.rfind("\n.").unwrap_or(page.len());
        match self {
            Self::Missing => None,
            Self::CutOff => Some(until(last_period.midpoint(end_mark))),
            Self::NoEndMark => Some(until(end_mark)),
            Self::NoZoneLine => Some(page.lines().filter(|line| !line.starts_with(zone)).collect::<Vec<_>>().join("\n").into()),
            Self::Binary => Some(page.bytes().enumerate().map(|(at, byte)| if at % 5 == 4 { 0 } else { byte ^ 0x55 }).collect()),
            Self::WebPage => Some(
                b"<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\n<body><p>Back soon.</p></body></html>\n"
                    .to_vec(),
            ),
            Self::Empty => Some(Vec::new()),
        }
    }
}
