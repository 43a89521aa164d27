//! Reads a marine forecast page: text in the layout of the coastal waters products, in; [`Forecast`], out.
//!
//! Pure: no clock, no I/O, never a panic, whatever the bytes. A map:
//!
//! - [`parse`] (`page.rs`): the page as lines. Header, zone line, names, headlines, periods, end mark.
//! - `period.rs`: one period's text as sentences; each goes to wind, sea or weather.
//! - `wind.rs`, `sea.rs`: one sentence as steps in time. `phrase.rs`: the words and amounts they share.
//! - `time.rs`: issue times and expiry. `hazard.rs`: warnings in headlines. `casing.rs`: pages IN UPPER CASE.

mod casing;
mod error;
mod hazard;
mod page;
mod period;
mod phrase;
mod sea;
#[cfg(test)]
mod tests;
mod time;
mod types;
mod wind;

#[cfg(test)]
pub(crate) use casing::title_case;
pub use error::ParseError;
pub use page::parse;
pub use types::{
    Direction, Forecast, Gust, Hazard, Height, Period, Phenomenon, Range, Significance, Surface, Swell, Wind,
};
