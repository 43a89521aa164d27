//! `windlass up`.

use std::sync::Arc;

use clap::Args;
use windlass_client::Client;

use super::runner::RunnerFlags;
use super::serve::{ServerFlags, block_on};
use crate::failure::{Doing as _, Failure};
use crate::host::in_process::InProcess;
use crate::host::{logging, open_files, runner_token, server, stop};

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
        let open_files = open_files::raise().doing("raise the limit of open files")?;
        block_on(async {
            let stop = stop::on_signal()?;
            let server = server::prepare(&settings, self.server.forget_secrets).await?;
            let router = windlass_server::router(server.app.clone());
            let transport = Arc::new(InProcess::new(router, server.address.url()));
            let (token, token_id) = runner_token::make(&server.app).await?;
            let client = Client::new(transport, token, "");
            let runner = super::runner::start(&settings, client, server.address.ca_text(), open_files)?;
            server::announce(&server.address.url(), &settings.data)?;
            let app = server.app.clone();
            // The runner needs the server to report what still ends, so it stops first.
            let shutdown = async {
                stop.cancelled().await;
                runner.shutdown();
                runner.wait().await;
                if let Err(failure) = runner_token::revoke(&app, token_id).await {
                    tracing::warn!("the runner's token is left behind until the next start: {failure}");
                }
            };
            windlass_server::serve(server.listener, server.tls, server.app, shutdown).await;
            Ok(0)
        })
    }
}
