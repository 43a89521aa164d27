//! The scheduled task of the weather app. See the crate's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    outcast::coordinator::main()
}
