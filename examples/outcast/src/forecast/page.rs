//! The page as lines.

use std::iter::Peekable;

use jiff::Timestamp;

use super::{
    casing::{sentence_case, title_case},
    error::ParseError,
    hazard::hazards_in,
    period::{period, sentences},
    time::{expiry, issue_time, looks_like_issue_time},
    types::{Forecast, Period},
};

/// Real pages have some kilobytes, products for a whole coast some dozens.
const MAX_PAGE_BYTES: usize = 128 * 1024;
/// A zone line names no more zones than there are numbers.
const MAX_ZONES: usize = 1000;
/// A zone line may go on, but not for ever.
const MAX_UGC_LINES: usize = 10;

/// Reads the first forecast on a page.
///
/// The header lines are not needed, and what follows the end mark `$$` is not read. Pages in upper case give the same
/// result as pages in mixed case: names and sentences get their lower case back.
///
/// # Errors
///
/// [`ParseError`] says what is wrong and where. A page that has lost its end is an error even when what is left
/// reads well: a forecast without its last days must not look whole.
pub fn parse(page: &[u8]) -> Result<Forecast, ParseError> {
    let text = text(page)?;
    let mut lines = Lines::of(text)?;
    let header_time = lines.skip_header()?;
    let ugc = lines.ugc()?;
    let (name, issue) = lines.name_and_issue_time(&ugc)?;
    let issued_at = issue.or(header_time).ok_or(ParseError::NoIssueTime)?;
    let expires_at = expiry(&ugc.expiry, issued_at).ok_or_else(|| ugc.bad("no such expiry time"))?;
    let is_upper = lines.is_upper();
    let headlines = lines.headlines()?;
    let Blocks { synopsis, periods } = lines.blocks(is_upper)?;
    let recase =
        |text: Vec<String>| if is_upper { text.iter().map(|s| sentence_case(s)).collect() } else { text };
    Ok(Forecast {
        hazards: headlines.iter().flat_map(|headline| hazards_in(headline)).collect(),
        zones: ugc.zones,
        name: if is_upper { title_case(&name) } else { name },
        issued_at,
        expires_at,
        headlines,
        synopsis: synopsis.map(|text| recase(sentences(&text)).join(". ") + "."),
        periods,
    })
}

/// The bytes as text. The control characters that frame a message on the wire are allowed.
fn text(page: &[u8]) -> Result<&str, ParseError> {
    if page.len() > MAX_PAGE_BYTES {
        return Err(ParseError::TooLong { bytes: page.len() });
    }
    let is_control = |byte: &u8| *byte < b' ' && !matches!(byte, 1 | 3 | b'\t' | b'\n' | b'\r' | 0x1e);
    if let Some(offset) = page.iter().position(is_control) {
        return Err(ParseError::NotText { what: format!("byte 0x{:02x}", page[offset]), offset });
    }
    let text = str::from_utf8(page).map_err(|error| ParseError::NotText {
        what: "broken UTF-8".to_owned(),
        offset: error.valid_up_to(),
    })?;
    if text.trim().is_empty() { Err(ParseError::Empty) } else { Ok(text) }
}

struct Ugc {
    zones: Vec<String>,
    expiry: String,
    line: usize,
    text: String,
}

impl Ugc {
    fn bad(&self, why: &'static str) -> ParseError {
        ParseError::BadUgcLine { line: self.line, text: self.text.clone(), why }
    }
}

struct Blocks {
    synopsis: Option<String>,
    periods: Vec<Period>,
}

struct Block {
    name: String,
    line: usize,
    text: Vec<String>,
}

/// The lines of a page with their numbers, trimmed, read from the top.
struct Lines<'a> {
    lines: Peekable<std::vec::IntoIter<(usize, &'a str)>>,
    /// The last line that is not blank.
    last: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Result<Self, ParseError> {
        let lines: Vec<_> = (1..)
            .zip(text.lines())
            .map(|(n, line)| (n, line.trim_matches(['\u{1}', '\u{3}', '\u{1e}']).trim()))
            .collect();
        let is_tag = |line: &str| {
            let line = line.to_ascii_lowercase();
            ["<!doctype", "<html", "<head", "<body"].iter().any(|tag| line.starts_with(tag))
        };
        if let Some((line, _)) = lines.iter().find(|(_, line)| is_tag(line)) {
            return Err(ParseError::WebPage { line: *line });
        }
        let last = lines.iter().rfind(|(_, line)| !line.is_empty()).map_or(0, |(number, _)| *number);
        Ok(Self { lines: lines.into_iter().peekable(), last })
    }

    /// Goes to the zone line; the issue time on the way is the product's.
    fn skip_header(&mut self) -> Result<Option<Timestamp>, ParseError> {
        let mut issued_at = None;
        while let Some((number, line)) = self.lines.next_if(|(_, line)| !begins_ugc(line)) {
            if looks_like_issue_time(line) {
                issued_at = Some(read_issue_time(number, line)?);
            }
        }
        Ok(issued_at)
    }

    fn ugc(&mut self) -> Result<Ugc, ParseError> {
        let mut text = String::new();
        let mut first = None;
        for (number, line) in self.lines.by_ref().take(MAX_UGC_LINES) {
            first = first.or(Some(number));
            text.push_str(line);
            if let Some(expiry) = expiry_of(&text) {
                let (zones, expiry) = (zones_of(&text), expiry.to_owned());
                let ugc =
                    Ugc { zones: zones.unwrap_or_default(), expiry, line: first.unwrap_or(number), text };
                return if ugc.zones.is_empty() { Err(ugc.bad("no such zones")) } else { Ok(ugc) };
            }
            if line.is_empty() {
                break;
            }
        }
        let line = first.ok_or(ParseError::NoUgcLine)?;
        Err(ParseError::BadUgcLine { line, text, why: "no expiry time at its end" })
    }

    /// The lines up to the issue time are the name; a blank line ends it too.
    fn name_and_issue_time(&mut self, ugc: &Ugc) -> Result<(String, Option<Timestamp>), ParseError> {
        let mut name: Vec<&str> = Vec::new();
        let mut issued_at = None;
        while let Some((number, line)) = self.lines.next_if(|(_, line)| !begins_body(line)) {
            if looks_like_issue_time(line) {
                issued_at = Some(read_issue_time(number, line)?);
                break;
            }
            if line.is_empty() {
                break;
            }
            name.push(line);
        }
        // Each name ends with a hyphen, and may take two lines.
        let name = name.join(" ").replace("- ", ", ");
        let name = name.trim_matches(['-', ' ']);
        if name.is_empty() {
            Err(ParseError::NoZoneName { line: ugc.line })
        } else {
            Ok((name.to_owned(), issued_at))
        }
    }

    /// Whether the forecast itself, from here to its end, is in upper case.
    fn is_upper(&self) -> bool {
        let mut body = self
            .lines
            .clone()
            .take_while(|(_, line)| *line != "$$")
            .filter(|(_, line)| !line.starts_with("..."));
        !body.any(|(_, line)| line.chars().any(char::is_lowercase))
    }

    /// The headlines before the first period. Other text there is for people and is passed over.
    fn headlines(&mut self) -> Result<Vec<String>, ParseError> {
        let mut headlines = Vec::new();
        while let Some((start, line)) =
            self.lines.next_if(|(_, line)| *line != "$$" && block_name(line).is_none())
        {
            if !line.starts_with("...") {
                continue;
            }
            let mut text = line.to_owned();
            while text.len() <= 3 || !text.ends_with("...") {
                let next = self
                    .lines
                    .next_if(|(_, line)| !line.is_empty() && !line.starts_with('.') && *line != "$$");
                let (_, more) = next.ok_or(ParseError::OpenHeadline { line: start })?;
                text.push(' ');
                text.push_str(more);
            }
            headlines.push(text.trim_matches(['.', ' ']).to_uppercase());
        }
        Ok(headlines)
    }

    /// Synopsis and periods, up to the end mark.
    fn blocks(&mut self, is_upper: bool) -> Result<Blocks, ParseError> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut end = None;
        for (number, line) in self.lines.by_ref() {
            if line == "$$" {
                end = Some(number);
                break;
            }
            if let Some((name, text)) = block_name(line) {
                blocks.push(Block { name: name.to_owned(), line: number, text: vec![text.to_owned()] });
            } else if let Some(block) = blocks.last_mut() {
                block.text.push(line.to_owned());
            }
        }
        let Some(end) = end else {
            let line = self.last;
            return Err(blocks.pop().map_or(ParseError::EndsEarly { line }, |block| {
                ParseError::EndsWithinPeriod { period: block.name, line }
            }));
        };
        let mut found = Blocks { synopsis: None, periods: Vec::new() };
        for Block { name, line, text } in blocks {
            let text = text.join(" ");
            if sentences(&text).is_empty() {
                return Err(ParseError::EmptyPeriod { line, period: name });
            }
            if name.to_uppercase().starts_with("SYNOPSIS") {
                found.synopsis = Some(text);
            } else {
                found.periods.push(period(&name, &text, is_upper));
            }
        }
        if found.periods.is_empty() { Err(ParseError::NoPeriods { line: end }) } else { Ok(found) }
    }
}

fn read_issue_time(line: usize, text: &str) -> Result<Timestamp, ParseError> {
    issue_time(text).map_err(|why| ParseError::BadIssueTime { line, text: text.to_owned(), why })
}

/// `ANZ230-…` or `ANZ230>235-…`.
fn begins_ugc(line: &str) -> bool {
    matches!(line.as_bytes(), [a, b, b'Z' | b'C', d, e, f, b'-' | b'>', ..]
        if a.is_ascii_uppercase() && b.is_ascii_uppercase() && [d, e, f].iter().all(|digit| digit.is_ascii_digit()))
}

/// The zones a whole zone line names: `ANZ230>232-251-250515-` are four. Letters hold until others come.
fn zones_of(ugc: &str) -> Option<Vec<String>> {
    let (list, _expiry) = ugc.strip_suffix('-')?.rsplit_once('-')?;
    let mut area = "";
    let mut zones = Vec::new();
    for part in list.split('-') {
        let (first, last) = part.split_once('>').unwrap_or((part, part));
        let number = match first.len() {
            6 if begins_ugc(&format!("{first}-")) => {
                area = first.get(..3)?;
                first.get(3..)?
            }
            _ => first,
        };
        let last = if last == first { number } else { last };
        if zones.len() > MAX_ZONES {
            return None;
        }
        let range = zone_number(number)?..=zone_number(last)?;
        zones.extend(range.map(|number| format!("{area}{number:03}")));
    }
    Some(zones)
}

fn zone_number(digits: &str) -> Option<u16> {
    if digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

/// The day, hour and minute that end a zone line.
fn expiry_of(ugc: &str) -> Option<&str> {
    let expiry = ugc.strip_suffix('-')?.rsplit('-').next()?;
    (expiry.len() == 6 && expiry.bytes().all(|byte| byte.is_ascii_digit())).then_some(expiry)
}

fn begins_body(line: &str) -> bool {
    line.starts_with('.') || line == "$$"
}

/// Splits `.TUE NIGHT...SW winds` into name and text. Without its three full stops the line is all name.
fn block_name(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix('.').filter(|rest| !rest.is_empty() && !rest.starts_with('.'))?;
    let (name, text) = rest.split_once("...").unwrap_or((rest.trim_end_matches('.'), ""));
    Some((name.trim(), text))
}
