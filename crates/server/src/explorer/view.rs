//! The page as finished strings.

use std::fmt::Write as _;

use askama::Template;
use http::Method;
use serde_json::Value;

use super::fields::{Field, fields};
use crate::auth::Access;
use crate::openapi::{document, parameters, section};
use crate::route::{Content, Route};

#[derive(Template)]
#[template(path = "explorer.html")]
pub(super) struct Page {
    version: &'static str,
    sections: Vec<Section>,
}

struct Section {
    name: &'static str,
    anchor: String,
    entries: Vec<Entry>,
}

struct Entry {
    anchor: String,
    method: String,
    path: &'static str,
    steps: Vec<Piece>,
    summary: Vec<Piece>,
    access: String,
    /// Parameters of the path besides the project.
    named: Vec<&'static str>,
    query: Vec<Parameter>,
    takes: Option<Body>,
    gives: Body,
    curl: String,
    /// Whether a form can send it.
    can_be_tried: bool,
}

struct Parameter {
    name: &'static str,
    about: Vec<Piece>,
}

struct Body {
    media_type: &'static str,
    schema: String,
    about: Vec<Piece>,
    fields: Vec<Row>,
    example: String,
}

struct Row {
    path: String,
    kind: String,
    about: Vec<Piece>,
}

/// A part of a text, which stands out or does not.
struct Piece {
    text: String,
    stands_out: bool,
}

impl Page {
    /// The page of these routes, in their order.
    pub(super) fn of(routes: &[Route]) -> Self {
        let document = serde_json::to_value(document(routes)).expect("the document is plain data");
        let schemas = &document["components"]["schemas"];
        let mut sections: Vec<Section> = Vec::new();
        for route in routes {
            let name = section(route);
            let at = sections.iter().position(|section| section.name == name).unwrap_or_else(|| {
                sections.push(Section { name, anchor: anchor(name), entries: Vec::new() });
                sections.len() - 1
            });
            sections[at].entries.push(entry(route, schemas));
        }
        Self { version: env!("CARGO_PKG_VERSION"), sections }
    }
}

fn entry(route: &Route, schemas: &Value) -> Entry {
    let takes = route.takes.as_ref().map(|content| body(content, route.example, schemas));
    let can_be_tried = takes.as_ref().is_none_or(|body| body.media_type != "multipart/form-data");
    Entry {
        anchor: anchor(&format!("{} {}", route.method, route.path)),
        method: route.method.to_string(),
        path: route.path,
        steps: steps(route.path),
        summary: prose(route.summary),
        access: route.access.to_string(),
        named: parameters(route.path).filter(|name| *name != "project_id").collect(),
        query: route.query.iter().map(|(name, about)| Parameter { name, about: prose(about) }).collect(),
        takes,
        gives: body(&route.gives, "", schemas),
        curl: curl(route),
        can_be_tried,
    }
}

fn body(content: &Content, example: &str, schemas: &Value) -> Body {
    let (media_type, schema, about) = match content {
        Content::Json(name) => ("application/json", name.clone(), Vec::new()),
        Content::Other(media_type, words) => (*media_type, String::new(), prose(words)),
    };
    let row = |Field { path, kind, about }| Row { path, kind, about: prose(&about) };
    let fields = fields(schemas, &schema).into_iter().map(row).collect();
    // For people: one field a line.
    let example = match serde_json::from_str::<Value>(example) {
        Ok(value) => format!("{value:#}"),
        Err(_) => String::new(),
    };
    Body { media_type, schema, about, fields, example }
}

/// A command that calls the route, with variables for server, project and token as every client of ours reads them.
fn curl(route: &Route) -> String {
    let mut path = route.path.replace("{project_id}", "$WINDLASS_PROJECT_ID");
    for name in parameters(route.path) {
        path = path.replace(&format!("{{{name}}}"), &name.to_uppercase());
    }
    let mut line = format!("curl \"$WINDLASS_URL{path}\"");
    let mut add = |words: &str| {
        let _ = write!(line, " \\\n  {words}");
    };
    match (&route.method, &route.takes) {
        (&Method::GET, _) | (&Method::POST, Some(_)) => {}
        (method, _) => add(&format!("-X {method}")),
    }
    if route.access != Access::Open {
        add("-H \"Authorization: OAuth $WINDLASS_TOKEN\"");
    }
    match &route.takes {
        None => {}
        Some(Content::Other("multipart/form-data", _)) => {
            add(&format!("-F 'data={}'", route.example));
            add("-F file=@hello.zip");
        }
        Some(Content::Other("*/*", _)) => add("--data-binary 'anything'"),
        Some(_) => {
            add("-H 'Content-Type: application/json'");
            add(&format!("-d '{}'", if route.example.is_empty() { "{}" } else { route.example }));
        }
    }
    line
}

/// The path, with its parameters standing out.
fn steps(path: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (at, text) in path.split_inclusive(['{', '}']).enumerate() {
        // Every second piece is a name and its closing brace; the opening one belongs to it.
        let stands_out = at % 2 == 1;
        let text = text.trim_end_matches('{');
        let text = if stands_out { format!("{{{text}") } else { text.to_owned() };
        pieces.push(Piece { text, stands_out });
    }
    pieces
}

/// Words, with what stands between backticks standing out.
fn prose(words: &str) -> Vec<Piece> {
    let piece = |(at, text): (usize, &str)| Piece { text: text.to_owned(), stands_out: at % 2 == 1 };
    words.split('`').enumerate().map(piece).filter(|piece| !piece.text.is_empty()).collect()
}

fn anchor(text: &str) -> String {
    let plain = text.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::routes;

    fn text(pieces: &[Piece]) -> Vec<(&str, bool)> {
        pieces.iter().map(|piece| (piece.text.as_str(), piece.stands_out)).collect()
    }

    #[test]
    fn parameters_and_code_stand_out() {
        assert_eq!(text(&steps("/version")), [("/version", false)]);
        assert_eq!(
            text(&steps("/2/x/{id}/log/{n}")),
            [("/2/x/", false), ("{id}", true), ("/log/", false), ("{n}", true)]
        );
        assert_eq!(text(&prose("`a` or b")), [("a", true), (" or b", false)]);
    }

    #[test]
    fn no_two_entries_have_the_same_anchor() {
        let page = Page::of(&routes());
        let mut anchors: Vec<&str> = page.sections.iter().map(|section| section.anchor.as_str()).collect();
        anchors.extend(page.sections.iter().flat_map(|s| &s.entries).map(|entry| entry.anchor.as_str()));
        let all = anchors.len();
        anchors.sort_unstable();
        anchors.dedup();
        assert_eq!(anchors.len(), all);
    }

    #[test]
    fn a_command_calls_the_route() {
        let page = Page::of(&routes());
        let curls: Vec<&str> =
            page.sections.iter().flat_map(|s| &s.entries).map(|entry| entry.curl.as_str()).collect();
        assert!(curls.contains(
            &"curl \"$WINDLASS_URL/2/projects/$WINDLASS_PROJECT_ID/tasks/ID\" \\\n  \
              -H \"Authorization: OAuth $WINDLASS_TOKEN\""
        ));
        assert!(curls.contains(&"curl \"$WINDLASS_URL/version\""));
        assert!(curls.iter().all(|curl| curl.matches('\'').count() % 2 == 0), "a quote in an example");
    }
}
