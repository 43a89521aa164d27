//! What this binary also is, so that one file is enough: the runner's spawner and the example's workers.

use std::process::ExitCode;

use crate::host::open_files;

/// Becomes what the hidden commands `spawner` and `outcast coordinator|zone` name; none: the command line is for people.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next()?;
    match (command.to_str()?, arguments.next().as_ref().and_then(|a| a.to_str())) {
        ("spawner", open_files) => {
            if let Some(soft) = open_files.and_then(|text| text.parse().ok()) {
                // An error means that tasks have a higher limit than asked for, which harms no task.
                let _ = open_files::restore(soft);
            }
            Some(windlass_runner::spawner::main())
        }
        ("outcast", Some("coordinator")) => Some(outcast::coordinator::main()),
        ("outcast", Some("zone")) => Some(outcast::zone::main()),
        _ => None,
    }
}
