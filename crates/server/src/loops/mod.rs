//! What keeps time: each loop is a step, `run_once(now)`, that says when it is due again, and a wait until then.
//!
//! Nothing polls: a loop sleeps until its deadline or until [`Signals::deadlines`](windlass_store::Signals::deadlines)
//! says that something became due earlier. Of several servers one leads ([`leader`]), and only its scheduler, rescuer and
//! pruner work; what one of them writes that leads no more comes to nothing.

pub mod leader;
pub mod promoter;
pub mod pruner;
pub mod rescuer;
pub mod scheduler;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use windlass_model::time::Timestamp;
use windlass_store::StoreError;

use crate::app::App;
use crate::metrics::Loop;

/// How soon a step that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the clock is looked at while a deadline is ahead: machines sleep, and clocks are set.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// Starts every loop. They end when `App::loops_end` is cancelled.
pub fn start(app: &Arc<App>) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    let leader = Duty { name: "leader", listens: false, leads: false };
    loops.spawn(drive(app.clone(), leader, |app, now| Box::pin(leader::run_once(app, now))));
    let promoter = Duty { name: "promoter", listens: true, leads: false };
    loops.spawn(drive(app.clone(), promoter, |app, now| Box::pin(promoter::run_once(app, now))));
    let scheduler = Duty { name: "scheduler", listens: true, leads: true };
    loops.spawn(drive(app.clone(), scheduler, |app, now| Box::pin(scheduler::run_once(app, now))));
    let rescuer = Duty { name: "rescuer", listens: true, leads: true };
    loops.spawn(drive(app.clone(), rescuer, |app, now| Box::pin(rescuer::run_once(app, now))));
    let pruner = Duty { name: "pruner", listens: false, leads: true };
    loops.spawn(drive(app.clone(), pruner, |app, now| Box::pin(pruner::run_once(app, now))));
    loops
}

type Step = for<'a> fn(&'a App, Timestamp) -> BoxFuture<'a, Result<Option<Timestamp>, StoreError>>;

/// What a loop is for.
struct Duty {
    name: &'static str,
    /// It also takes a step when something became due earlier than was known.
    listens: bool,
    /// It rests while another server leads.
    leads: bool,
}

/// Takes a step whenever it is due.
async fn drive(app: Arc<App>, duty: Duty, step: Step) {
    let mut lead = app.lead.subscribe();
    let Duty { name, listens, leads } = duty;
    loop {
        if leads {
            tokio::select! {
                () = app.loops_end.cancelled() => return,
                // The sender is the app's, which we hold.
                _ = lead.wait_for(|lead| lead.is_ours) => {}
            }
        }
        // Registered before looking: what becomes due between the step and the wait is not missed.
        let moved = app.store.signals().deadlines().notified();
        tokio::pin!(moved);
        moved.as_mut().enable();
        let now = app.now();
        let next = match step(&app, now).await {
            Ok(next) => next,
            Err(StoreError::NotLeading) => {
                leader::lost(&app);
                continue;
            }
            Err(e) => {
                app.metrics.loop_failures.get_or_create(&Loop { r#loop: name }).inc();
                tracing::warn!(error = %e, "a step of the {name} failed, it is tried again: {e}");
                Some(now + AGAIN_AFTER)
            }
        };
        tokio::select! {
            () = app.loops_end.cancelled() => return,
            () = moved, if listens => {}
            () = sleep_until(&app, next) => {}
        }
    }
}

async fn sleep_until(app: &App, deadline: Option<Timestamp>) {
    let Some(deadline) = deadline else { return std::future::pending().await };
    loop {
        let left = deadline.since(app.now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(CLOCK_CHECK)).await;
    }
}
