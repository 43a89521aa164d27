//! The log of a task on its page: lines with numbers, colours rendered, and more of them as they are written.

use std::sync::Arc;

use axum::extract::State;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use windlass_model::id::TaskId;
use windlass_model::log::{LogChunk, Stream};

use super::ansi::Ansi;
use super::answer::Shown;
use crate::api::logs::{self, Written};
use crate::api::params::Id;
use crate::app::App;
use crate::auth::InProject;
use crate::error::ApiError;
use crate::query::Query;

/// Most lines that a page shows: the newest ones.
const MOST_LINES: usize = 5_000;

/// A log, ready to be shown.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    /// Lines before the first that is shown.
    pub(super) left_out: usize,
    /// Number of the last chunk in it.
    pub(super) after: u32,
    /// Whether its last line may go on.
    pub(super) is_open: bool,
}

/// A line of a log.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) n: usize,
    /// `o`, `e` or `s`, by where its beginning came from.
    pub(super) stream: &'static str,
    pub(super) html: String,
}

/// Makes lines of chunks, one after another.
#[derive(Debug, Default)]
struct Liner {
    ansi: Ansi,
    /// Lines that were begun.
    count: usize,
    is_open: bool,
    /// Bytes at the end of the last chunk that are a character only with the next.
    partial: Vec<u8>,
}

/// Some of a line.
struct Piece {
    line: Line,
    /// Whether it belongs to the line that the piece before it is of.
    goes_on: bool,
}

impl Liner {
    fn take(&mut self, chunk: &LogChunk) -> Vec<Piece> {
        let text = self.text(&chunk.data.0);
        let html = self.ansi.html(&text);
        let stream = match chunk.stream {
            Stream::Stdout => "o",
            Stream::Stderr => "e",
            Stream::System => "s",
        };
        let mut pieces = Vec::new();
        for part in html.split_inclusive('\n') {
            let goes_on = self.is_open;
            self.count += usize::from(!goes_on);
            self.is_open = !part.ends_with('\n');
            let html = part.trim_end_matches('\n').to_owned();
            pieces.push(Piece { line: Line { n: self.count, stream, html }, goes_on });
        }
        pieces
    }

    /// The bytes as text; a character that is cut off waits for its rest.
    fn text(&mut self, bytes: &[u8]) -> String {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        if let Err(error) = std::str::from_utf8(&whole)
            && error.error_len().is_none()
        {
            self.partial = whole.split_off(error.valid_up_to());
        }
        String::from_utf8_lossy(&whole).into_owned()
    }
}

/// The lines of some chunks.
pub(super) fn lines(chunks: &[LogChunk]) -> Lines {
    let mut liner = Liner::default();
    let mut lines: Vec<Line> = Vec::new();
    for piece in chunks.iter().flat_map(|chunk| liner.take(chunk)) {
        match lines.last_mut() {
            Some(last) if piece.goes_on => last.html.push_str(&piece.line.html),
            _ => lines.push(piece.line),
        }
    }
    let left_out = lines.len().saturating_sub(MOST_LINES);
    lines.drain(..left_out);
    Lines { lines, left_out, after: chunks.last().map_or(0, |c| c.n), is_open: liner.is_open }
}

/// `GET /p/{project}/tasks/{id}/log`: the whole of it, as a file.
pub(super) async fn text(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    query: Query,
) -> Shown {
    app.task_of(project, id).await?;
    let attempt = logs::count(&query, "attempt")?;
    let mut answer = logs::text(&app, id, attempt, None).await?;
    let name = HeaderValue::from_str(&format!("attachment; filename=\"{id}.log\""));
    let name = name.map_err(|_| ApiError::internal("an id is no file name"))?;
    answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(answer)
}

/// `GET /p/{project}/tasks/{id}/log/live?after=N&lines=N&open=1`: what follows the lines that a page shows, as events:
/// each an array of pieces of lines with their number, stream and HTML.
pub(super) async fn follow(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<TaskId>,
    query: Query,
    headers: HeaderMap,
) -> Shown {
    app.task_of(project, id).await?;
    let number = |key| logs::count(&query, key);
    let (attempt, after, count) = (number("attempt")?, number("after")?, number("lines")?);
    let last_seen = headers.get("last-event-id").and_then(|v| v.to_str().ok()?.parse().ok());
    let mut liner =
        Liner { count: count.unwrap_or(0) as usize, is_open: query.flag("open"), ..Liner::default() };
    let write: Written = Box::new(move |events: &mut Vec<u8>, chunk: &LogChunk| {
        let pieces: Vec<_> = liner
            .take(chunk)
            .into_iter()
            .map(|p| json!({ "n": p.line.n, "s": p.line.stream, "h": p.line.html, "on": p.goes_on }))
            .collect();
        events.extend_from_slice(format!("id: {}\ndata: {}\n\n", chunk.n, json!(pieces)).as_bytes());
    });
    Ok(logs::follow(app, id, attempt, last_seen.or(after).unwrap_or(0), write))
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::bytes::Bytes;

    fn chunk(n: u32, stream: Stream, text: &[u8]) -> LogChunk {
        LogChunk { n, stream, at_ms: 0, data: Bytes(text.to_vec()) }
    }

    #[test]
    fn lines_are_put_together_from_chunks() {
        let chunks = [
            chunk(1, Stream::Stdout, b"a\nb \xc3"),
            chunk(2, Stream::Stdout, b"\xa4\n"),
            chunk(3, Stream::Stderr, b"\x1b[31mc\nd"),
        ];
        let shown = lines(&chunks);
        let html: Vec<_> = shown.lines.iter().map(|l| (l.n, l.stream, l.html.as_str())).collect();
        let red = |text: &str| format!("<span class=\"c1\">{text}</span>");
        assert_eq!(html, [(1, "o", "a"), (2, "o", "b ä"), (3, "e", &red("c")), (4, "e", &red("d"))]);
        assert!(shown.is_open && shown.after == 3 && shown.left_out == 0);
    }

    #[test]
    fn only_the_newest_lines_of_a_long_log_are_shown() {
        let shown = lines(&[chunk(1, Stream::Stdout, "x\n".repeat(MOST_LINES + 7).as_bytes())]);
        assert_eq!((shown.lines.len(), shown.left_out, shown.lines[0].n), (MOST_LINES, 7, 8));
    }
}
