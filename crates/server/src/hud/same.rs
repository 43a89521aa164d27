//! The command and the request that do what a page does: whoever clicks can automate.

use windlass_model::id::ProjectId;

/// A command line and a curl line that mean the same.
#[derive(Debug)]
pub(super) struct Same {
    pub(super) what: &'static str,
    pub(super) cli: String,
    pub(super) curl: String,
}

impl Same {
    /// `windlass …` beside `METHOD /2/projects/{project}/path`, with a body of JSON or none.
    pub(super) fn new(
        what: &'static str,
        cli: String,
        method: &str,
        project: ProjectId,
        path: &str,
        body: Option<&str>,
    ) -> Self {
        let body = body.map_or(String::new(), |b| {
            format!(" \\\n  -H 'Content-Type: application/json' -d '{}'", b.replace('\'', "'\\''"))
        });
        let method = if method == "GET" { String::new() } else { format!(" -X {method}") };
        let curl = format!(
            "curl{method} -H \"Authorization: Bearer $IRON_TOKEN\" \\\n  \"$WINDLASS_URL/2/projects/{project}{path}\"{body}"
        );
        Self { what, cli, curl }
    }
}

/// A word of a shell's command line.
pub(super) fn quoted(text: &str) -> String {
    let is_plain =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:=@%+,".contains(c));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!([quoted("plain-1"), quoted("it's"), quoted("")], ["plain-1", "'it'\\''s'", "''"]);
    }
}
