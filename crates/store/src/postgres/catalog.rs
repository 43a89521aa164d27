//! Packages, in memory: few, and asked for with every request.
//!
//! Another server may have changed them. What is not known is looked for; what is known is at most [`FRESH`] old, and
//! nothing asks while nobody does. Claims do not depend on it: whether a package may start is decided in the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use windlass_model::code::Code;
use windlass_model::id::{CodeId, ProjectId, Seq};
use windlass_model::isolation::Level;

/// How long what is known of packages may be used without asking whether it changed.
pub(super) const FRESH: Duration = Duration::from_millis(250);

/// When it was last asked whether packages changed.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    asking: tokio::sync::Mutex<()>,
    asked: RwLock<Option<Instant>>,
}

impl Freshness {
    pub(super) fn is_fresh(&self) -> bool {
        self.asked.read().is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Held by the one that asks.
    pub(super) async fn lock(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Whether somebody asked at `at` or later.
    pub(super) fn is_of(&self, at: Instant) -> bool {
        self.asked.read().is_some_and(|asked| asked >= at)
    }

    pub(super) fn set(&self, at: Instant) {
        *self.asked.write() = Some(at);
    }
}

/// Every package, also deleted ones, by its number in the database.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    /// Changes up to this one are in it.
    pub(super) version: i64,
    packages: HashMap<i32, Arc<Code>>,
    needs: HashMap<i32, Level>,
    numbers: HashMap<CodeId, i32>,
    names: HashMap<ProjectId, HashMap<String, i32>>,
}

impl Catalog {
    /// Puts a package in its place, with the isolation that it needs.
    pub(super) fn put(&mut self, number: i32, code: Code, needs: Level) {
        self.needs.insert(number, needs);
        let names = self.names.entry(code.project).or_default();
        if code.deleted_at.is_none() {
            names.insert(code.name.clone(), number);
        } else if names.get(&code.name) == Some(&number) {
            names.remove(&code.name);
        }
        self.numbers.insert(code.id, number);
        self.packages.insert(number, Arc::new(code));
    }

    pub(super) fn package(&self, number: i32) -> Option<&Arc<Code>> {
        self.packages.get(&number)
    }

    /// The weakest isolation that the package's tasks may run in.
    pub(super) fn needs(&self, number: i32) -> Level {
        self.needs.get(&number).copied().unwrap_or_default()
    }

    pub(super) fn number(&self, id: CodeId) -> Option<i32> {
        self.numbers.get(&id).copied()
    }

    pub(super) fn code(&self, id: CodeId) -> Option<&Arc<Code>> {
        self.packages.get(self.numbers.get(&id)?)
    }

    /// The package with this name that is not deleted.
    pub(super) fn named(&self, project: ProjectId, name: &str) -> Option<&Arc<Code>> {
        self.packages.get(self.names.get(&project)?.get(name)?)
    }

    /// Packages whose tasks are in lanes of their own.
    pub(super) fn with_own_lanes(&self) -> Vec<CodeId> {
        let apart = self.packages.values().filter(|code| code.is_paused || code.max_concurrency.is_some());
        apart.map(|code| code.id).collect()
    }

    /// The newest id of a package or revision.
    pub(super) fn newest(&self) -> Option<Seq> {
        self.packages.values().map(|code| code.id.seq().max(code.latest.id.seq())).max()
    }

    /// Packages of the project with their numbers, also deleted ones.
    pub(super) fn packages_of(&self, project: ProjectId) -> impl Iterator<Item = (i32, &Arc<Code>)> {
        self.packages
            .iter()
            .filter(move |(_, code)| code.project == project)
            .map(|(number, code)| (*number, code))
    }
}
