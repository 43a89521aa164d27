//! The task of one zone of the weather app. See the crate's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    outcast::zone::main()
}
