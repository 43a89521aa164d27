//! Which tasks a filter means, and how many.

use windlass_model::id::TaskId;
use windlass_model::task::{Status, Task};
use windlass_store::types::{Counts, TaskQuery};

use super::payload;
use super::show::count;
use crate::app::App;
use crate::error::ApiError;

/// How far tasks are counted one by one, where the counters do not tell.
const COUNTED: usize = 1_000;

/// How many tasks are looked through for a text, to count those that have it.
const LOOKED_THROUGH: usize = 10_000;

/// How many tasks one action looks through for a text.
const REACH: usize = 100_000;

/// Tasks that are read in one step.
const STEP: usize = 1_000;

/// What is done to many tasks is done to these: those of a query that have a text.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) wanted: TaskQuery,
    /// In lower case; empty: all have it.
    pub(super) text: String,
    /// Only those before this one: the rest, once a part was done.
    pub(super) rest: Option<TaskId>,
}

impl Meant {
    /// Whether this task of the query is meant. Who may change tasks may see their secrets, so a text may be in one.
    pub(super) fn has(&self, task: &Task) -> bool {
        self.text.is_empty() || has_text(task, &self.text, true)
    }

    /// The rest of them, before the task that was looked at last.
    pub(super) fn before(self, last: TaskId) -> Self {
        Self { wanted: TaskQuery { before: Some(last.seq()), ..self.wanted }, rest: Some(last), ..self }
    }

    /// How many tasks one action may look through.
    pub(super) fn reach(&self) -> usize {
        if self.text.is_empty() { usize::MAX } else { REACH }
    }

    /// How many are meant.
    pub(super) async fn number(&self, app: &App) -> Result<Number, ApiError> {
        if self.text.is_empty() {
            return number(app, &self.wanted).await;
        }
        let mut wanted = TaskQuery { limit: STEP, ..self.wanted.clone() };
        let (mut n, mut seen) = (0, 0);
        while seen < LOOKED_THROUGH {
            let tasks = app.store.tasks(&wanted).await?;
            n += tasks.iter().filter(|task| self.has(task)).count();
            seen += tasks.len();
            match tasks.last() {
                Some(last) if tasks.len() == STEP => wanted.before = Some(last.new.id.seq()),
                _ => return Ok(Number::exactly(n as u64)),
            }
        }
        Ok(Number { least: n as u64, is_all: false, seen: Some(seen as u64) })
    }
}

/// How many tasks there are, as far as it is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Number {
    least: u64,
    is_all: bool,
    /// How many were looked through for a text, if there are more than that.
    seen: Option<u64>,
}

impl Number {
    fn exactly(n: u64) -> Self {
        Self { least: n, is_all: true, seen: None }
    }

    /// Whether there are none.
    pub(super) fn is_none(&self) -> bool {
        self.is_all && self.least == 0
    }

    /// In words: `7`, `At least 1 000`.
    pub(super) fn words(&self) -> String {
        match self.least {
            0 if !self.is_all => "None so far".to_owned(),
            n if self.is_all => count(n),
            n => format!("At least {}", count(n)),
        }
    }

    /// Why it is not known exactly, if that needs to be said.
    pub(super) fn note(&self) -> String {
        self.seen.map_or(String::new(), |seen| {
            format!("That is among the newest {}; older ones may match, too, and are meant.", count(seen))
        })
    }
}

/// Whether message, label, id or payload of the task have the text, which is in lower case.
pub(super) fn has_text(task: &Task, text: &str, may_reveal: bool) -> bool {
    let has = |within: &str| within.to_lowercase().contains(text);
    has(&task.state.msg)
        || task.new.label.as_deref().is_some_and(has)
        || task.new.id.to_string() == text
        || payload::has_text(&task.new.payload, text, may_reveal)
}

/// The number of tasks that the query means: exact by the counters, or counted, up to a point.
async fn number(app: &App, wanted: &TaskQuery) -> Result<Number, ApiError> {
    let is_of_lanes = wanted.label.is_none()
        && wanted.schedule.is_none()
        && wanted.parent.is_none()
        && wanted.from.is_none()
        && wanted.to.is_none()
        && wanted.before.is_none();
    if !is_of_lanes {
        let n = app.store.tasks(&TaskQuery { limit: COUNTED, ..wanted.clone() }).await?.len();
        return Ok(Number { least: n as u64, is_all: n < COUNTED, seen: None });
    }
    let lanes = app.store.counts(Some(wanted.project)).await?;
    let lanes = lanes.iter().filter(|lane| {
        wanted.code.is_none_or(|code| code == lane.code)
            && wanted.cluster.as_ref().is_none_or(|cluster| *cluster == lane.cluster)
    });
    let counts: Counts = lanes.map(|lane| &lane.counts).sum();
    let statuses = Status::ALL.into_iter().filter(|&status| wanted.statuses.contains(status));
    Ok(Number::exactly(statuses.map(|status| counts.get(status)).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_what_is_known() {
        let number = |least, is_all| Number { least, is_all, seen: (!is_all).then_some(10_000) };
        assert_eq!(
            [number(0, true), number(0, false), number(7, false)].map(|n| n.words()),
            ["0", "None so far", "At least 7"]
        );
        assert!(number(7, true).note().is_empty());
        assert!(number(7, false).note().contains("the newest 10\u{202f}000"));
    }
}
