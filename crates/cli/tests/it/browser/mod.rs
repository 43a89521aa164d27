//! The pages in a real browser: what a person does with them, by mouse, by keyboard, without JavaScript, on a phone.
//!
//! They need Debian's `chromium`, and axe-core for one of them: `tests/browser/run` sees to both and runs them all.
//!
//! | module | holds |
//! |---|---|
//! | [`chromium`] | the process, and the protocol that it is driven by |
//! | [`page`] | one tab: what is seen and done in it, what its console complained of, the story of a failure |
//! | [`what`] | how a person names a part of a page: a button, a field, a text |
//! | the others | the tests |

mod chromium;
mod codes;
mod everywhere;
mod log;
mod page;
mod schedules;
mod tasks;
mod what;

use serde_json::Value;

use chromium::Chromium;
use page::{Look, Page};

use crate::windlass::Windlass;

/// Begins by telling its payload. With `wait…` it ticks, in green, until it is cancelled; with `fail…` it fails.
const WORKER: &str = r#"payload=$(cat "$PAYLOAD_FILE")
printf 'begin %s\n' "$payload"
case "$payload" in
  wait*) while [ ! -e go ]; do sleep 0.1; printf '\033[32mtick\033[0m\n'; done ;;
  fail*) echo "this went wrong" >&2; exit 3 ;;
esac
printf '{"ok":true}' >"$RESULT_FILE"
"#;

/// A Windlass with the package `worker`, and a browser beside it.
struct Desk {
    windlass: Windlass,
    chromium: Chromium,
    token: String,
    /// The path of the project's pages.
    base: String,
}

impl Desk {
    fn set() -> Self {
        let windlass = Windlass::start();
        windlass.upload("worker", WORKER, &[]);
        let iron: Value =
            serde_json::from_slice(&std::fs::read(windlass.data().join("iron.json")).unwrap()).unwrap();
        let word = |name: &str| iron[name].as_str().unwrap().to_owned();
        let base = format!("/p/{}", word("project_id"));
        Self { chromium: Chromium::start(), token: word("token"), base, windlass }
    }

    /// A tab that is logged in.
    fn open(&self) -> Page<'_> {
        self.open_with(&Look::default())
    }

    fn open_with(&self, look: &Look) -> Page<'_> {
        let page = Page::open(&self.chromium, &self.windlass, look);
        page.goto("/");
        page.fill(&what::field("Token"), &self.token);
        page.click(&what::button("Log in"));
        page.address_ends(&self.base);
        page
    }

    /// The path of a page of the project.
    fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.base)
    }

    fn queue(&self, payload: &str) -> String {
        self.windlass.queue("worker", &["--payload", payload])
    }

    /// Queues a task and waits until it has ended, by itself or badly.
    fn ended(&self, payload: &str) -> String {
        let id = self.queue(payload);
        self.windlass.task_when(&id, |task| !matches!(task["status"].as_str(), Some("queued" | "running")));
        id
    }

    fn status_is(&self, id: &str, status: &str) {
        self.windlass.task_when(id, |task| task["status"] == status);
    }
}
