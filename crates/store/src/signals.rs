//! How those who wait learn that something happened: no polling of tables, no event queue to fall behind on.
//!
//! A signal says "look again", never what there is to see. Who waits registers first, looks, and only then waits, so
//! nothing that happens in between is missed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use windlass_model::id::TaskId;
use windlass_model::isolation::Level;

/// The signals of one store.
#[derive(Debug, Default)]
pub struct Signals {
    ready: Mutex<HashMap<String, [Arc<Notify>; Level::ALL.len()]>>,
    tasks: Mutex<HashMap<TaskId, Arc<Notify>>>,
    changes: Notify,
    cancels: Notify,
    deadlines: Notify,
}

impl Signals {
    /// Tasks of `cluster` became claimable that need isolation of at least `needs`: wakes one waiting claimer of each
    /// level that will do. Who waits on one level is the same to us, and most clusters have but one; a claimer that is
    /// woken for what another one took finds nothing, and waits on.
    ///
    /// A claimer that got as many tasks as it wanted calls this again for every level, as there may be more of whatever
    /// kind; so the wake-ups spread as far as there is work.
    pub fn ready(&self, cluster: &str, needs: Level) {
        if let Some(levels) = self.ready.lock().get(cluster) {
            levels[needs as usize..].iter().for_each(|notify| notify.notify_one());
        }
        self.changes.notify_waiters();
    }

    /// What a claimer of `cluster` waits on that isolates as well as `level` says.
    pub fn ready_of(&self, cluster: &str, level: Level) -> Arc<Notify> {
        let mut ready = self.ready.lock();
        match ready.get(cluster) {
            Some(levels) => levels[level as usize].clone(),
            None => ready.entry(cluster.to_owned()).or_default()[level as usize].clone(),
        }
    }

    /// The clusters that somebody waits for tasks of.
    pub fn awaited(&self) -> Vec<String> {
        // Whoever waits has a reference beside the map's.
        let is_awaited = |levels: &[Arc<Notify>]| levels.iter().any(|notify| Arc::strong_count(notify) > 1);
        let ready = self.ready.lock();
        ready.iter().filter(|(_, levels)| is_awaited(*levels)).map(|(cluster, _)| cluster.clone()).collect()
    }

    /// Whether somebody watches a task.
    pub fn is_watched(&self) -> bool {
        !self.tasks.lock().is_empty()
    }

    /// Anything may have changed elsewhere: wakes everybody who watches a task. `false`: nobody does.
    pub fn look_again(&self) -> bool {
        let tasks = self.tasks.lock();
        tasks.values().for_each(|notify| notify.notify_waiters());
        !tasks.is_empty()
    }

    /// The task or its log changed: wakes everybody who watches it.
    pub fn task_changed(&self, task: TaskId) {
        if let Some(notify) = self.tasks.lock().get(&task) {
            notify.notify_waiters();
        }
        self.changes.notify_waiters();
    }

    /// Waited on by whoever shows how things stand: some task was queued, started, changed or ended. It costs nothing
    /// while nobody waits.
    pub fn changes(&self) -> &Notify {
        &self.changes
    }

    /// Watches one task until dropped.
    pub fn watch_task(self: &Arc<Self>, task: TaskId) -> TaskWatch {
        let notify = self.tasks.lock().entry(task).or_default().clone();
        TaskWatch { signals: self.clone(), task, notify }
    }

    /// A running task was asked to be cancelled: its runner should hear of it before its next heartbeat.
    pub fn cancel_requested(&self) {
        self.cancels.notify_waiters();
    }

    /// Waited on by calls that carry cancels to runners.
    pub fn cancels(&self) -> &Notify {
        &self.cancels
    }

    /// Something became due earlier than was known: a delayed task, a schedule, a lease.
    pub fn deadline_moved(&self) {
        self.deadlines.notify_waiters();
    }

    /// Waited on by the loops that sleep until the next deadline.
    pub fn deadlines(&self) -> &Notify {
        &self.deadlines
    }
}

/// Watches one task. [`TaskWatch::notified`] must be called before looking at the task, and awaited after.
#[derive(Debug)]
pub struct TaskWatch {
    signals: Arc<Signals>,
    task: TaskId,
    notify: Arc<Notify>,
}

impl TaskWatch {
    /// Resolves at the next change. Register it (`enable`) before looking.
    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for TaskWatch {
    fn drop(&mut self) {
        let mut tasks = self.signals.tasks.lock();
        // Two references are the map's and ours: nobody else watches it.
        if Arc::strong_count(&self.notify) <= 2 {
            tasks.remove(&self.task);
        }
    }
}
