//! What can be wrong with a page.

use thiserror::Error;

/// Why a page is not a forecast. Lines count from one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// There is nothing, or nothing but blanks.
    #[error("empty page")]
    Empty,
    /// The page is many times longer than a forecast; it is not looked into.
    #[error("page of {bytes} bytes, too long for a forecast")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The bytes are not text.
    #[error("not text: {what} at byte {offset}")]
    NotText {
        /// What was found instead.
        what: String,
        /// Where, from zero.
        offset: usize,
    },
    /// A web page came instead, as servers send with an error or a notice.
    #[error("line {line}: a web page, not a forecast")]
    WebPage {
        /// The line with the first tag.
        line: usize,
    },
    /// No line names the zone and the expiry time, as `ANZ230-242115-` does.
    #[error("no UGC line")]
    NoUgcLine,
    /// The zone line is there but wrong.
    #[error("line {line}: bad UGC line {text:?}: {why}")]
    BadUgcLine {
        /// The line.
        line: usize,
        /// What it says.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing between the zone line and the issue time.
    #[error("line {line}: no zone name after the UGC line")]
    NoZoneName {
        /// The zone line.
        line: usize,
    },
    /// No line such as `415 PM EST Tue Nov 24 2026`, neither in the header nor after the names.
    #[error("no issue time line")]
    NoIssueTime,
    /// A line that should be an issue time and is not.
    #[error("line {line}: bad issue time {text:?}: {why}")]
    BadIssueTime {
        /// The line.
        line: usize,
        /// What it says.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The page stops without its end mark before the first period.
    #[error("page ends at line {line} before the first period (no \"$$\")")]
    EndsEarly {
        /// The last line.
        line: usize,
    },
    /// The page stops without its end mark within a period, so the rest of it is lost.
    #[error("page ends within period \".{period}\" at line {line} (no \"$$\")")]
    EndsWithinPeriod {
        /// The period's name.
        period: String,
        /// The last line.
        line: usize,
    },
    /// The end mark comes before any period.
    #[error("line {line}: \"$$\" before the first period")]
    NoPeriods {
        /// The line of the end mark.
        line: usize,
    },
    /// A period has a name and no text.
    #[error("line {line}: nothing in period \".{period}\"")]
    EmptyPeriod {
        /// The line of its name.
        line: usize,
        /// The period's name.
        period: String,
    },
    /// A headline begins with three full stops and never ends with them.
    #[error("line {line}: headline without its closing \"...\"")]
    OpenHeadline {
        /// Where it begins.
        line: usize,
    },
}
