//! The store as a plain in-memory model: the definition of what is right, without a thought for speed.
//!
//! [`State`] is the model, one method per operation of the seam; [`Memory`] puts a lock around it. Databases are
//! compared to it by [`crate::conformance`]; tests of the layers above run on it.

mod seam;
mod state;
mod usage;

pub use seam::Memory;
pub use state::State;
