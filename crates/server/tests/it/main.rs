//! The server without a socket (and, in `socket`, with one), on the in-memory store and a clock that tests move.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod access;
mod bad_input;
mod bulk;
mod clusters;
mod document;
mod endurance;
mod explain;
mod explorer;
mod hud;
mod hud_codes;
mod hud_live;
mod hud_tasks;
mod isolation;
mod limits;
mod logs;
mod pages;
mod rules;
mod runners;
mod schedules;
mod secrets;
mod server;
mod socket;
mod tasks;
mod tokens;
mod trace;
mod uploads;
mod usage;
mod wire;
