//! One running attempt, as the table `running` has it.

use windlass_model::id::{ScheduleId, TaskId};
use windlass_model::lease::Fence;
use windlass_model::lifecycle::Trial;
use windlass_model::retry::RetryPolicy;
use windlass_model::runner::Held;
use windlass_model::task::TaskState;

/// One running attempt with what its end is decided and written from. `L` is how the database names its lane.
#[derive(Clone, Debug)]
pub(crate) struct Run<L = usize> {
    pub(crate) task: TaskId,
    pub(crate) lane: L,
    pub(crate) prank: u8,
    pub(crate) fence: Fence,
    pub(crate) policy: RetryPolicy,
    /// The schedule that made the task.
    pub(crate) schedule: Option<ScheduleId>,
    /// Whether there may be rows in `chunk`.
    pub(crate) has_chunks: bool,
    pub(crate) state: TaskState,
}

impl<L> Run<L> {
    /// What its end is concluded from.
    pub(crate) fn trial(&self) -> Trial {
        let state = &self.state;
        Trial {
            retries: state.retries,
            losses: state.losses,
            unable: 0,
            cancel_requested: state.cancel_requested,
        }
    }

    /// Whether this is the attempt.
    pub(crate) fn is(&self, held: Held) -> bool {
        self.task == held.task && self.fence == held.fence
    }
}
