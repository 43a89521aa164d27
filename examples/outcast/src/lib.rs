//! Outcast: a weather app that reads 472 marine forecasts every ten minutes, as two workers.
//!
//! A scheduled task, the [`coordinator`], lists the zones and queues one task per [`zone`]; each of those fetches one
//! page and turns it into data. A map:
//!
//! - [`coordinator`], [`zone`]: the two workers. Each is a `run` to call and a `main` to be a process.
//! - [`forecast`]: reads a page. Pure.
//! - [`site`]: pages to practise on, and a web server for them.
//! - [`layout`]: where a site keeps its pages. [`task`], [`queue`]: the platform's side. [`Error`]: what can go wrong.

pub mod coordinator;
mod error;
pub mod forecast;
mod http;
pub mod layout;
pub mod queue;
pub mod site;
pub mod task;
pub mod zone;

pub use error::Error;
