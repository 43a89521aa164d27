//! A zip that arrives as the text of a Python bytes literal.
//!
//! Under Python 3 the official client sends `str(bytes)`: `b'PK\x03\x04\x14…'`. No zip begins with `b'PK` or `b"PK`,
//! so what does is taken for such a literal and un-escaped; everything else passes through.

/// Un-escapes a literal piece by piece, or passes through what is none.
#[derive(Debug, Default)]
pub struct Unescape {
    state: State,
    /// The first bytes, until it is clear what this is.
    head: Vec<u8>,
    quote: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Undecided,
    PassThrough,
    Plain,
    Escaped,
    Hex,
    HexAfter(u8),
    Ended,
}

/// The literal is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the zip was sent as the text of a Python bytes literal, and the literal is damaged")]
pub struct Damaged;

const HEAD: usize = 4;

impl Unescape {
    /// The bytes that `piece` adds.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Vec<u8>, Damaged> {
        if self.state == State::PassThrough {
            return Ok(piece.to_vec());
        }
        if self.state != State::Undecided {
            return self.unescape(piece);
        }
        self.head.extend_from_slice(piece);
        if self.head.len() < HEAD { Ok(Vec::new()) } else { self.decide() }
    }

    /// The bytes that are left when everything was fed.
    pub fn end(&mut self) -> Result<Vec<u8>, Damaged> {
        match self.state {
            State::Undecided => Ok(std::mem::take(&mut self.head)),
            State::PassThrough | State::Ended => Ok(Vec::new()),
            _ => Err(Damaged),
        }
    }

    fn decide(&mut self) -> Result<Vec<u8>, Damaged> {
        let head = std::mem::take(&mut self.head);
        if head.starts_with(b"b'PK") || head.starts_with(b"b\"PK") {
            self.state = State::Plain;
            self.quote = head[1];
            return self.unescape(&head[2..]);
        }
        self.state = State::PassThrough;
        Ok(head)
    }

    fn unescape(&mut self, piece: &[u8]) -> Result<Vec<u8>, Damaged> {
        let mut out = Vec::with_capacity(piece.len());
        for &byte in piece {
            self.state = match (self.state, byte) {
                (State::Plain, b'\\') => State::Escaped,
                (State::Plain, quote) if quote == self.quote => State::Ended,
                (State::Plain, byte) => {
                    out.push(byte);
                    State::Plain
                }
                (State::Escaped, b'x') => State::Hex,
                (State::Escaped, escaped) => {
                    out.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'\\' | b'\'' | b'"' => escaped,
                        _ => return Err(Damaged),
                    });
                    State::Plain
                }
                (State::Hex, high) => State::HexAfter(digit(high)?),
                (State::HexAfter(high), low) => {
                    out.push(high << 4 | digit(low)?);
                    State::Plain
                }
                (State::Ended, b'\r' | b'\n' | b' ') => State::Ended,
                _ => return Err(Damaged),
            };
        }
        Ok(out)
    }
}

fn digit(byte: u8) -> Result<u8, Damaged> {
    char::from(byte).to_digit(16).map(|d| d as u8).ok_or(Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Python's `str()` makes of bytes.
    fn literal(bytes: &[u8]) -> Vec<u8> {
        let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
        let mut text = format!("b{quote}");
        for &byte in bytes {
            match byte {
                b'\n' => text.push_str("\\n"),
                b'\r' => text.push_str("\\r"),
                b'\t' => text.push_str("\\t"),
                b'\\' => text.push_str("\\\\"),
                _ if char::from(byte) == quote => text.push_str(&format!("\\{quote}")),
                b' '..=b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("\\x{byte:02x}")),
            }
        }
        text.push(quote);
        text.into_bytes()
    }

    fn through(sent: &[u8], step: usize) -> Result<Vec<u8>, Damaged> {
        let mut unescape = Unescape::default();
        let mut out = Vec::new();
        for piece in sent.chunks(step) {
            out.extend(unescape.feed(piece)?);
        }
        out.extend(unescape.end()?);
        Ok(out)
    }

    proptest! {
        #[test]
        fn a_literal_becomes_what_it_was(tail: Vec<u8>, step in 1usize..9) {
            let zip = [b"PK".as_slice(), &tail].concat();
            prop_assert_eq!(through(&literal(&zip), step), Ok(zip));
        }

        #[test]
        fn everything_else_passes_through(bytes: Vec<u8>, step in 1usize..9) {
            prop_assume!(!bytes.starts_with(b"b'PK") && !bytes.starts_with(b"b\"PK"));
            prop_assert_eq!(through(&bytes, step), Ok(bytes));
        }
    }

    #[test]
    fn a_damaged_literal_is_refused() {
        for text in ["b'PK", "b'PK\\", "b'PK\\xg0'", "b'PK\\q'", "b'PK' trailing", "b'PK\\x1"] {
            assert_eq!(through(text.as_bytes(), 3), Err(Damaged), "{text}");
        }
    }
}
