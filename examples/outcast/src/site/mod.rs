//! A forecast site to practise on: 472 zones, their pages, and a web server for them.
//!
//! Everything here follows from the issue time alone, so a demo and its tests know what each page says, which pages
//! are bad, and how many tasks will fail. A map:
//!
//! - [`Site`] (`content.rs`): index and pages as pure functions. [`serve`] (`serve.rs`) puts them on a socket.
//! - `office.rs`, `zones.rs`: who forecasts for which waters. `weather.rs`: the weather there, from `dice.rs`.
//! - `render.rs`: a forecast as a page. `fault.rs`: what is wrong with some pages.

mod content;
mod dice;
mod fault;
mod office;
mod render;
mod serve;
mod weather;
mod zones;

pub use content::{Flaky, Site};
pub use fault::Fault;
pub use serve::{Server, serve};
pub use zones::{ZONE_COUNT, Zone};
