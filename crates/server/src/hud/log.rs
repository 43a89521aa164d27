//! The log of a task on its page: lines with numbers, colours rendered, and more of them as they are written.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use tokio::sync::Semaphore;
use windlass_model::id::TaskId;
use windlass_model::log::{LogChunk, Stream};
use windlass_model::task::Stored;
use windlass_store::types::{LogBody, LogPart};

use super::ansi::Ansi;
use super::answer::Shown;
use super::guard::Here;
use crate::api::logs::{self, Written};
use crate::api::params::Id;
use crate::app::App;
use crate::auth::InProject;
use crate::error::ApiError;
use crate::query::Query;

/// Most lines that a page shows.
const MOST_LINES: usize = 5_000;

/// Lines that are shown before the one that was asked for.
const AROUND: usize = 50;

/// Most bytes of HTML that it shows, as long as that is a line at least.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// Where a line is broken off that never ends.
const MOST_IN_LINE: usize = 64 * 1024;

/// Long logs that are made into lines at once: it is work for a processor, and each is in memory as a whole.
static RENDERINGS: Semaphore = Semaphore::const_new(2);

/// Some lines of a log, ready to be shown.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: VecDeque<Line>,
    /// Lines after the last that is shown.
    pub(super) later: usize,
    /// Number of the last chunk of the log.
    pub(super) after: u32,
    /// Whether its last line may go on.
    pub(super) is_open: bool,
}

impl Lines {
    /// Lines before the first that is shown.
    pub(super) fn earlier(&self) -> usize {
        self.lines.front().map_or(0, |line| line.n - 1)
    }

    /// A line whose page ends with those before the first.
    pub(super) fn before(&self) -> usize {
        (self.earlier() + 1 + AROUND).saturating_sub(MOST_LINES).max(1)
    }

    /// The line after the last.
    pub(super) fn next(&self) -> usize {
        self.lines.back().map_or(1, |line| line.n + 1 + AROUND)
    }
}

/// A line of a log.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) n: usize,
    /// `o`, `e` or `s`, by where its beginning came from.
    pub(super) stream: &'static str,
    pub(super) html: String,
    is_broken_off: bool,
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
            let line = Line { n: self.count, stream, html, is_broken_off: false };
            pieces.push(Piece { line, goes_on });
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

/// The last lines of a part of a log; or, if `line` is not among them, those around it.
pub(super) async fn shown(
    app: &App,
    id: TaskId,
    part: &LogPart,
    line: Option<u32>,
) -> Result<Lines, ApiError> {
    let is_long = matches!(&part.log, LogBody::Whole(Some(Stored::Blob(_))));
    // Never closed, so it is never refused.
    let _turn = if is_long { RENDERINGS.acquire().await.ok() } else { None };
    let chunks = logs::chunks(app, id, part, 0).await?;
    if !is_long {
        return Ok(around(&chunks, line));
    }
    let lines = tokio::task::spawn_blocking(move || around(&chunks, line)).await;
    lines.map_err(|e| ApiError::internal(&format!("a log cannot be shown: {e}")))
}

fn around(chunks: &[LogChunk], line: Option<u32>) -> Lines {
    let last = lines(chunks, None);
    match line.map(|line| line as usize) {
        Some(line) if line <= last.earlier() => lines(chunks, Some(line.saturating_sub(AROUND).max(1))),
        _ => last,
    }
}

/// The lines of all chunks of a log, from line `from` on or else the last ones. However many there are, no more are kept than are shown.
fn lines(chunks: &[LogChunk], from: Option<usize>) -> Lines {
    let mut liner = Liner::default();
    let mut kept: VecDeque<Line> = VecDeque::new();
    let (mut size, mut is_full) = (0, false);
    for piece in chunks.iter().flat_map(|chunk| liner.take(chunk)) {
        let is_early = from.is_some_and(|from| piece.line.n < from);
        if is_early || is_full && !piece.goes_on {
            continue;
        }
        match kept.back_mut() {
            Some(last) if piece.goes_on => {
                if last.n != piece.line.n || last.is_broken_off {
                    continue;
                }
                last.is_broken_off = last.html.len() + piece.line.html.len() > MOST_IN_LINE;
                let more = if last.is_broken_off { BROKEN_OFF } else { &piece.line.html };
                last.html.push_str(more);
                size += more.len();
            }
            _ => {
                size += piece.line.html.len();
                kept.push_back(piece.line);
            }
        }
        if from.is_some() {
            is_full = kept.len() >= MOST_LINES || size > MOST_BYTES;
        } else {
            while kept.len() > MOST_LINES || size > MOST_BYTES && kept.len() > 1 {
                size -= kept.pop_front().map_or(0, |line| line.html.len());
            }
        }
    }
    let later = kept.back().map_or(0, |last| liner.count - last.n);
    Lines { lines: kept, later, after: chunks.last().map_or(0, |c| c.n), is_open: liner.is_open }
}

/// Stands at the end of a line of which there is more.
const BROKEN_OFF: &str = "<b class=\"more\">… the rest of this line is in the download</b>";

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
    here: Here,
    query: Query,
    headers: HeaderMap,
) -> Shown {
    app.task_of(project, id).await?;
    let token = here.session()?.token.record.id;
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
    Ok(logs::follow(app, Some(token), id, attempt, last_seen.or(after).unwrap_or(0), write))
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
        let shown = lines(&chunks, None);
        let html: Vec<_> = shown.lines.iter().map(|l| (l.n, l.stream, l.html.as_str())).collect();
        let red = |text: &str| format!("<span class=\"c1\">{text}</span>");
        assert_eq!(html, [(1, "o", "a"), (2, "o", "b ä"), (3, "e", &red("c")), (4, "e", &red("d"))]);
        assert!(shown.is_open && (shown.after, shown.earlier(), shown.later) == (3, 0, 0));
    }

    #[test]
    fn only_the_newest_lines_of_a_long_log_are_shown() {
        let log = [chunk(1, Stream::Stdout, "x\n".repeat(2 * MOST_LINES + 7).as_bytes())];
        let shown = lines(&log, None);
        assert_eq!(
            (shown.lines.len(), shown.earlier(), shown.lines[0].n),
            (MOST_LINES, MOST_LINES + 7, MOST_LINES + 8)
        );
        let page = |line: usize| around(&log, Some(line as u32));
        let before = page(shown.before());
        assert_eq!((before.lines.len(), before.lines[0].n, before.later), (MOST_LINES, 8, MOST_LINES));
        let first = page(before.before());
        assert_eq!(
            (first.lines[0].n, first.later, first.next()),
            (1, MOST_LINES + 7, MOST_LINES + 1 + AROUND)
        );
        assert_eq!(page(2 * MOST_LINES).later, 0, "it is among the last");
        assert_eq!(lines(&log, Some(1_000_000)).lines.len(), 0);
    }

    #[test]
    fn lines_without_end_and_without_number_cost_little() {
        let endless: Vec<_> = (1..200).map(|n| chunk(n, Stream::Stdout, &[b'x'; 10_000])).collect();
        let shown = lines(&endless, None);
        assert_eq!(shown.lines.len(), 1);
        assert!(shown.lines[0].html.len() < MOST_IN_LINE + 200 && shown.lines[0].html.ends_with("</b>"));
        let wide = format!("{}\n", "<".repeat(10_000));
        let wide: Vec<_> = (1..200).map(|n| chunk(n, Stream::Stdout, wide.as_bytes())).collect();
        for from in [None, Some(1)] {
            let shown = lines(&wide, from);
            let size: usize = shown.lines.iter().map(|line| line.html.len()).sum();
            assert!(size <= MOST_BYTES + 50_000 && shown.lines.len() > 40, "{size}");
        }
    }
}
