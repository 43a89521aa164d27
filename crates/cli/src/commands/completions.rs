//! `windlass completions`.

use clap::Args;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::Output;

/// Prints a script that completes commands and flags.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// For this shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, command: &mut clap::Command) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "windlass", &mut script);
        Output::new(false).bytes(&script)?;
        Ok(0)
    }
}
