//! The two workers as processes, against the site and a stand-in for the platform's API.

#![expect(clippy::unwrap_used, reason = "what tests call is test code too, but the lint only knows #[test]")]

mod platform;
mod python;
mod workers;
