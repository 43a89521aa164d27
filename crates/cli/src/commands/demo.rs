//! `windlass demo`.

use std::path::PathBuf;

use clap::Args;

use crate::demo::{Plot, tell};
use crate::failure::Failure;
use crate::host::stop;

/// Shows what Windlass is for: a task that is scheduled every ten minutes queues one task for each of 472 marine zones,
/// and each downloads and parses a forecast. Starts a Windlass and a small forecast site on this machine.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// End after the first round
    #[arg(long)]
    once: bool,

    /// Use the text files of this site, such as <https://tgftp.nws.noaa.gov> [default: a site of our own]
    #[arg(long, value_name = "URL")]
    site: Option<String>,

    /// Keep the data in this folder [default: a new one that goes when the demo ends]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where Windlass listens; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let stop = stop::on_signal()?;
        let plot = Plot { once: self.once, site: self.site, data: self.data, listen: self.listen };
        tell(plot, stop).await.map_err(|e| Failure::new(format_args!("the demo failed: {e:#}")))?;
        Ok(0)
    }
}
