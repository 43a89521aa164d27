//! `windlass up`.

use std::sync::Arc;

use clap::Args;
use windlass_client::Client;

use super::runner::RunnerFlags;
use super::serve::{ServerFlags, block_on};
use crate::failure::Failure;
use crate::host::in_process::InProcess;
use crate::host::{logging, server, stop};

/// Starts a server and a runner in one process: all that is needed on one machine. Prints one line when it is ready.
/// SIGTERM and SIGINT stop it: running tasks may end for a while, then they are queued again; a second one stops it at
/// once. The first start makes a project and a token, and leaves both in DATA/iron.json.
#[derive(Args, Debug)]
pub(crate) struct Up {
    #[command(flatten)]
    server: ServerFlags,

    #[command(flatten)]
    runner: RunnerFlags,
}

impl Up {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let settings = self.server.settings(&self.runner.more())?;
        logging::start(&settings)?;
        block_on(async {
            let stop = stop::on_signal()?;
            let server = server::prepare(&settings).await?;
            let router = windlass_server::router(server.app.clone());
            let transport = Arc::new(InProcess::new(router, server.url.clone()));
            let client = Client::new(transport, server.credentials.token.clone(), "");
            let runner = super::runner::start(&settings, client)?;
            server::announce(&server.url, &settings.data)?;
            // The runner needs the server to report what still ends, so it stops first.
            let shutdown = async {
                stop.cancelled().await;
                runner.shutdown();
                runner.wait().await;
            };
            windlass_server::serve(server.listener, server.app, shutdown).await;
            Ok(0)
        })
    }
}
