//! Tasks as clients read them: with the name and the revision id of their packages.

use std::collections::HashMap;

use windlass_model::id::{CodeId, RevisionId};
use windlass_model::task::Task;
use windlass_model::wire;

use crate::app::App;
use crate::error::ApiError;

/// Names of packages and ids of revisions, each asked for once per request.
#[derive(Debug)]
pub struct Names<'a> {
    app: &'a App,
    seen: HashMap<(CodeId, u32), (String, RevisionId)>,
}

impl<'a> Names<'a> {
    /// Nothing asked for yet.
    pub fn new(app: &'a App) -> Self {
        Self { app, seen: HashMap::new() }
    }

    /// The task as clients read it.
    pub async fn task(&mut self, task: &Task) -> Result<wire::tasks::Task, ApiError> {
        let key = (task.new.code, task.new.rev);
        if !self.seen.contains_key(&key) {
            let found = self.look_up(key.0, key.1).await?;
            self.seen.insert(key, found);
        }
        let (name, revision) = &self.seen[&key];
        Ok(wire::tasks::Task::present(task, name, *revision))
    }

    /// Every one of the tasks as clients read it.
    pub async fn tasks(&mut self, tasks: &[Task]) -> Result<Vec<wire::tasks::Task>, ApiError> {
        let mut shown = Vec::with_capacity(tasks.len());
        for task in tasks {
            shown.push(self.task(task).await?);
        }
        Ok(shown)
    }

    /// The name of the package, also of a deleted one.
    pub async fn name(&mut self, code: CodeId) -> Result<String, ApiError> {
        // From the store's memory.
        let code = self.app.store.code(code).await?;
        Ok(code.ok_or_else(|| ApiError::internal("a task names a package that is not kept"))?.name)
    }

    async fn look_up(&self, code: CodeId, rev: u32) -> Result<(String, RevisionId), ApiError> {
        let missing = || ApiError::internal("a task names a package or revision that is not kept");
        let code = self.app.store.code(code).await?.ok_or_else(missing)?;
        let revision = match code.latest.rev == rev {
            true => code.latest.id,
            false => self.app.store.revision(code.id, rev).await?.ok_or_else(missing)?.id,
        };
        Ok((code.name, revision))
    }
}
