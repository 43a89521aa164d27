//! Reads server-sent events (`text/event-stream`) as they arrive in pieces.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its number, by which a broken stream is resumed.
    pub(crate) id: Option<String>,
    /// Its kind; empty means `message`.
    pub(crate) kind: String,
    /// What it says.
    pub(crate) data: String,
}

/// Turns pieces of a stream into events. A piece may end anywhere, also within a character or a line end.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// The events that `piece` completes.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in piece {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                byte => self.line.push(byte),
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment keeps the connection alive; `retry` is ours to decide.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": hello\r\n\r\nid: 7\nevent: log\ndata: {\"a\":\ndata:1}\n\ndata: grüße\r\rid: 9\n\n";

    fn expected() -> Vec<Event> {
        vec![
            Event { id: Some("7".into()), kind: "log".into(), data: "{\"a\":\n1}".into() },
            Event { id: None, kind: String::new(), data: "grüße".into() },
        ]
    }

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        assert_eq!(Parser::default().feed(STREAM.as_bytes()), expected());
        for size in 1..10 {
            let mut parser = Parser::default();
            let events: Vec<Event> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| parser.feed(piece)).collect();
            assert_eq!(events, expected(), "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_that_was_cut_off_is_not_told() {
        assert_eq!(Parser::default().feed(b"id: 1\ndata: half"), []);
    }
}
