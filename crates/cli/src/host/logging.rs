//! Logs go to standard error: standard output is for what scripts read.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::settings::{LogFormat, Settings};

/// Logs from now on as the settings say, panics too.
pub(crate) fn start(settings: &Settings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .map_err(|e| Failure::new(format_args!("log.level: {:?}: {e}", settings.log_level)))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let logs = logs.with_ansi(std::io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "somewhere".to_owned(), ToString::to_string);
        let why = panic.payload_as_str().unwrap_or("for no reason it gave");
        tracing::error!(place, "a part of windlass panicked at {place}: {why}; please report this as a bug");
    }));
    Ok(())
}
