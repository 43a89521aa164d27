//! Spawners that died under a task.
//!
//! Once is nobody's fault, and the attempt is given back. A worker that kills its parent does it every time, and would
//! be started again for ever: so after a few times the end of the spawner counts as the task's own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use windlass_model::id::TaskId;
use windlass_model::lease::MAX_LOSSES;

/// Tasks that are remembered; who comes back after so many others is new again.
const REMEMBERED: usize = 1024;

/// How often which task lost its spawner here.
#[derive(Debug, Default)]
pub(crate) struct Deaths(Mutex<HashMap<TaskId, u32>>);

impl Deaths {
    /// A spawner died under `task`. Whether that was once too often.
    pub(crate) fn note(&self, task: TaskId) -> bool {
        let mut deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if deaths.len() >= REMEMBERED && !deaths.contains_key(&task) {
            deaths.clear();
        }
        let times = deaths.entry(task).or_default();
        *times += 1;
        *times >= MAX_LOSSES
    }
}
