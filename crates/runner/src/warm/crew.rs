//! The processes of a worker: whether a task has left some behind.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

/// Least time between two looks: tasks that take less share one.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The processes of a worker, as its control group lists them.
#[derive(Debug)]
pub(crate) struct Crew {
    list: PathBuf,
    /// How many there were before the first task.
    at_first: Option<usize>,
    looked: Option<Instant>,
}

impl Crew {
    /// The processes in a list of a control group's.
    pub(crate) fn new(list: PathBuf) -> Self {
        Self { list, at_first: None, looked: None }
    }

    /// The worker takes a task: what it has started before its first is its own.
    pub(crate) fn takes_task(&mut self) {
        if self.at_first.is_none() {
            self.at_first = Some(self.count());
        }
    }

    /// Whether there are more than there were before the first task. Not every call looks.
    pub(crate) fn has_grown(&mut self) -> bool {
        let Some(at_first) = self.at_first else { return false };
        if self.looked.is_some_and(|looked| looked.elapsed() < BETWEEN_LOOKS) {
            return false;
        }
        self.looked = Some(Instant::now());
        self.count() > at_first
    }

    fn count(&self) -> usize {
        // Opened anew: with version 1 of control groups an open list stays as it was for a second.
        let list = std::fs::read(&self.list).unwrap_or_default();
        list.iter().filter(|&&b| b == b'\n').count()
    }
}
