//! Outcast.

pub mod forecast;
pub mod site;
