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
        Self { what, cli, curl: curl(method, &format!("/projects/{project}{path}"), body) }
    }
}

fn curl(method: &str, path: &str, body: Option<&str>) -> String {
    let body = body.map_or(String::new(), |b| {
        format!(" \\\n  -H 'Content-Type: application/json' -d '{}'", b.replace('\'', "'\\''"))
    });
    let method = if method == "GET" { String::new() } else { format!(" -X {method}") };
    format!("curl{method} -H \"Authorization: Bearer $IRON_TOKEN\" \\\n  \"$WINDLASS_URL/2{path}\"{body}")
}

impl Same {
    /// `windlass …` beside `METHOD /2/path`, which belongs to no project.
    pub(super) fn root(
        what: &'static str,
        cli: String,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Self {
        Self { what, cli, curl: curl(method, path, body) }
    }

    /// `windlass upload …` beside the request that does it. A first revision says how it is started.
    pub(super) fn upload(
        what: &'static str,
        cli: String,
        project: ProjectId,
        name: &str,
        is_first: bool,
    ) -> Self {
        let data = match is_first {
            true => serde_json::json!({ "name": name, "runtime": "sh", "file_name": "hello.sh" }),
            false => serde_json::json!({ "name": name }),
        };
        let curl = format!(
            "curl -X POST -H \"Authorization: Bearer $IRON_TOKEN\" \\\n  \"$WINDLASS_URL/2/projects/{project}/codes\" \\\n  -F {} -F file=@package.zip",
            quoted(&format!("data={data}"))
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
