//! The two workers as processes, against the site and a stand-in for the platform's API.

mod platform;
mod python;
mod workers;
