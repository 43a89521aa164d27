//! `windlass demo`: the story that Windlass comes from, told by running it.
//!
//! | module | holds |
//! |---|---|
//! | [`story`] | what happens, in order |
//! | [`round`] | one firing of the schedule, from the coordinator to the last zone |
//! | [`summary`] | what a round came to |

mod round;
mod story;
mod summary;

pub(crate) use story::{Plot, tell};
