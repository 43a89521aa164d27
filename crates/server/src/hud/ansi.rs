//! Output with the escape sequences of terminals as HTML: colours and weights become classes, the rest is left out.

use std::fmt::Write as _;

/// Renders output piece by piece; what one piece began the next goes on with.
#[derive(Clone, Debug, Default)]
pub(super) struct Ansi {
    style: Style,
    /// An escape sequence whose end has not come yet.
    pending: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    is_bold: bool,
    is_faint: bool,
    is_italic: bool,
    is_underlined: bool,
    /// 0 to 15.
    colour: Option<u8>,
}

/// Longest sequence that is waited for; more is text.
const MAX_SEQUENCE: usize = 64;

impl Ansi {
    /// `text` as HTML. Lines stay apart by their line feeds; a span never reaches over one.
    pub(super) fn html(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + text.len() / 8);
        let joined;
        let text = if self.pending.is_empty() {
            text
        } else {
            joined = std::mem::take(&mut self.pending) + text;
            &joined
        };
        let mut rest = text;
        while let Some(at) = rest.find(['\u{1b}', '\n', '\r']) {
            self.text(&rest[..at], &mut out);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix('\n') {
                out.push('\n');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('\r') {
                // Progress bars start their line over: as a line of its own each step stays readable.
                if !after.is_empty() && !after.starts_with('\n') {
                    out.push('\n');
                }
                rest = after;
            } else {
                match sequence(rest) {
                    Some(length) => {
                        self.apply(&rest[..length]);
                        rest = &rest[length..];
                    }
                    None if rest.len() < MAX_SEQUENCE => {
                        rest.clone_into(&mut self.pending);
                        return out;
                    }
                    None => rest = &rest[1..],
                }
            }
        }
        self.text(rest, &mut out);
        out
    }

    fn text(&self, text: &str, out: &mut String) {
        if text.is_empty() {
            return;
        }
        let classes = self.style.classes();
        if !classes.is_empty() {
            let _ = write!(out, "<span class=\"{classes}\">");
        }
        for c in text.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\t' => out.push('\t'),
                c if c.is_control() => out.push('\u{fffd}'),
                c => out.push(c),
            }
        }
        if !classes.is_empty() {
            out.push_str("</span>");
        }
    }

    /// Only `CSI … m` says how text looks.
    fn apply(&mut self, sequence: &str) {
        let Some(numbers) = sequence.strip_prefix("\u{1b}[").and_then(|s| s.strip_suffix('m')) else {
            return;
        };
        let mut numbers = numbers.split([';', ':']).map(|n| n.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            let style = &mut self.style;
            match number {
                0 => *style = Style::default(),
                1 => style.is_bold = true,
                2 => style.is_faint = true,
                3 => style.is_italic = true,
                4 => style.is_underlined = true,
                22 => (style.is_bold, style.is_faint) = (false, false),
                23 => style.is_italic = false,
                24 => style.is_underlined = false,
                30..=37 => style.colour = Some((number - 30) as u8),
                90..=97 => style.colour = Some((number - 90 + 8) as u8),
                39 => style.colour = None,
                38 | 48 => {
                    // Of the 256 colours the first 16 are the ones above; others and backgrounds are not shown.
                    let mode = numbers.next();
                    let first = numbers.next();
                    if mode == Some(2) {
                        numbers.nth(1);
                    } else if let (38, Some(colour @ 0..16)) = (number, first) {
                        style.colour = Some(colour as u8);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Style {
    fn classes(self) -> String {
        let flags =
            [(self.is_bold, "b"), (self.is_faint, "f"), (self.is_italic, "i"), (self.is_underlined, "u")];
        let mut classes: Vec<String> =
            flags.into_iter().filter(|(is_on, _)| *is_on).map(|(_, class)| class.to_owned()).collect();
        classes.extend(self.colour.map(|colour| format!("c{colour}")));
        classes.join(" ")
    }
}

/// Length of the escape sequence that `text` begins with; none: its end is not there.
fn sequence(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes.get(1)? {
        b'[' => bytes[2..].iter().position(|b| (0x40..=0x7e).contains(b)).map(|at| at + 3),
        // Titles and links: up to BEL or ST.
        b']' => bytes[2..].iter().enumerate().find_map(|(at, b)| match b {
            0x07 => Some(at + 3),
            b'\\' if bytes[at + 1] == 0x1b => Some(at + 3),
            _ => None,
        }),
        b if b.is_ascii() => Some(2),
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_nothing_else_gets_through() {
        let html = |text: &str| Ansi::default().html(text);
        assert_eq!(html("a\u{1b}[1;31mb\u{1b}[0mc"), "a<span class=\"b c1\">b</span>c");
        assert_eq!(html("\u{1b}[38;5;9mx\u{1b}[39m\u{1b}[48;2;1;2;3my"), "<span class=\"c9\">x</span>y");
        assert_eq!(html("<script>&\"\u{7}"), "&lt;script&gt;&amp;&quot;\u{fffd}");
        assert_eq!(html("\u{1b}]0;title\u{7}\u{1b}[2Kx\u{1b}(y"), "xy");
        assert_eq!(html("10%\r20%\r\nend"), "10%\n20%\nend");
    }

    #[test]
    fn a_sequence_may_come_in_two_pieces() {
        let mut ansi = Ansi::default();
        assert_eq!(ansi.html("a\u{1b}[3"), "a");
        assert_eq!(ansi.html("2mb\nc"), "<span class=\"c2\">b</span>\n<span class=\"c2\">c</span>");
        let endless = format!("\u{1b}[{}", "1".repeat(100));
        assert!(Ansi::default().html(&endless).ends_with(&"1".repeat(100)));
    }
}
