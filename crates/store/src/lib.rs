//! What Windlass keeps, and what each operation on it promises.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | `trait Store`, in the order of a task's life: the seam that every database fits |
//! | [`types`] | what goes in and comes out of it |
//! | [`usage`] | sums that outlive the tasks they are of |
//! | [`signals`] | how those who wait learn that something happened |
//! | [`blob`] | packages, long logs and results, by the hash of their content |
//! | [`memory`] | the store as a plain in-memory model: the definition of what is right |
//! | [`sqlite`] | the embedded store |
//! | [`moving`] | everything in one store, into another |
//! | [`postgres`] | the store of many machines |
//! | [`conformance`] | the suite that compares a database to the model |

mod audit;
pub mod blob;
pub mod conformance;
mod encoding;
pub mod error;
pub mod memory;
pub mod moving;
pub mod postgres;
mod run;
pub mod signals;
pub mod sqlite;
pub mod store;
pub mod types;
pub mod usage;

pub use error::StoreError;
pub use signals::Signals;
pub use store::Store;
