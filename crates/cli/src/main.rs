//! The `windlass` binary: server, runner, and everything a person does with them.
//!
//! | module | holds |
//! |---|---|
//! | [`embedded`] | what this binary also is: the spawner and the example's workers |
//! | [`cli`] | the commands and their arguments |
//! | [`commands`] | a file per command |
//! | [`connection`] | which server, and as whom |
//! | [`settings`] | what server and runner can be set to |
//! | [`host`] | running a server and a runner in this process |
//! | [`child`] | running them in another process |
//! | [`demo`], [`mod@bench`] | the story, and the figures |
//! | [`output`] | tables, JSON, bars |
//! | [`failure`] | what a person is told when something did not work |

mod bench;
mod child;
mod cli;
mod commands;
mod connection;
mod demo;
mod embedded;
mod failure;
mod host;
mod output;
mod settings;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else, threads above all: a spawner must be small.
    if let Some(code) = embedded::run() {
        return code;
    }
    match cli::run() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::note(&failure);
            ExitCode::from(failure.code())
        }
    }
}
