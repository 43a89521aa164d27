//! Signals: the first asks for a stop that loses nothing, the second for one at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Exit code of a stop at once, as a shell has it for an interrupt.
const AT_ONCE: i32 = 130;

/// Cancelled at the first SIGTERM or SIGINT; at the second, the process ends.
pub(crate) fn on_signal() -> Result<CancellationToken, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_first {
                tracing::info!("stopping: requests and running tasks may end; a second signal stops at once");
                told.cancel();
            }
        }
        tracing::warn!("stopping at once; running tasks are queued again at the next start");
        std::process::exit(AT_ONCE);
    });
    Ok(stop)
}
