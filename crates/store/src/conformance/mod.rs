//! The suite that every database must pass: random sequences of operations, done to the model and to the database,
//! with every answer compared, and everything that can be read compared in the end.
//!
//! A [`Step`] names things by small numbers that are taken modulo what there is, so any sequence makes sense and a
//! failing one can be made shorter. Fences are the store's own to choose: they are translated, not compared.

mod compare;
mod step;
mod world;

pub use step::{Ending, Step, TaskStep};
pub use world::{Subject, run, same};
