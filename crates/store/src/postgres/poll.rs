//! What other servers did that somebody here waits for: a slow look at the database, as servers do not tell each other.
//!
//! While claimers or watchers wait it looks a few times a second at first, and ever more seldom while nothing is found.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::fault::Stop;
use super::param::params;
use super::rows;
use super::state::State;

/// How soon it looks again after something was found.
const SOON: Duration = Duration::from_millis(200);
/// How seldom it looks while nothing happens: three idle servers stay well below a transaction a second.
const SELDOM: Duration = Duration::from_secs(8);
/// The same while somebody watches a task, who may be shown what happened elsewhere.
const WATCHED: Duration = Duration::from_secs(1);

/// What is due next, as it was seen last.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(super) struct Due(Option<i64>);

/// Looks once, and wakes whoever may go on. Returns whether there was any reason to.
pub(super) async fn look(state: &State, due: &mut Due) -> Result<bool, Stop> {
    let clusters = state.signals.awaited();
    let mut found = state.signals.look_again();
    let mut next = None;
    for row in state.read(include_str!("sql/poll.sql"), params![clusters]).await? {
        match row.try_get::<_, Option<String>>(0)? {
            Some(cluster) => {
                state.signals.ready(&cluster, rows::level_at(&row, 1)?);
                found = true;
            }
            None => next = row.try_get(2)?,
        }
    }
    if next.is_some_and(|at| due.0.is_none_or(|before| at < before)) {
        state.signals.deadline_moved();
    }
    due.0 = next;
    Ok(found)
}

/// Looks until the store is gone.
pub(super) fn start(state: &Arc<State>) {
    let state = Arc::downgrade(state);
    tokio::spawn(async move {
        let (mut pause, mut due) = (SOON, Due::default());
        loop {
            tokio::time::sleep(pause).await;
            let Some(state) = Weak::upgrade(&state).filter(|state| !state.connections.is_closed()) else {
                return;
            };
            let found = look(&state, &mut due).await.unwrap_or_else(|stop| {
                tracing::debug!(stop = ?stop, "what other servers did could not be looked at");
                false
            });
            pause = if found { SOON } else { (pause * 2).min(SELDOM) };
            if state.signals.is_watched() {
                pause = pause.min(WATCHED);
            }
            // Servers that were started together should not look together.
            pause += pause.mul_f64(f64::from(state.jitter() as u32 % 1000) / 2000.0);
        }
    });
}
