//! What happens in the demo, in order.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use outcast::layout::Layout;
use outcast::site::{self, Site};
use tokio_util::sync::CancellationToken;
use windlass_client::Client;
use windlass_client::package::Package;
use windlass_model::id::ScheduleId;
use windlass_model::limits::Network;
use windlass_model::wire::codes::UploadRequest;
use windlass_model::wire::lenient::{Number, Payload, Text};
use windlass_model::wire::schedules::ScheduleRequest;

use super::round;
use crate::child::Windlass;
use crate::output::Output;

/// The scheduled worker: reads the list of zones and queues a task for each.
pub(super) const COORDINATOR: &str = "outcast-coordinator";
/// The worker of one zone: downloads a page, parses it, leaves a forecast.
pub(super) const ZONE: &str = "outcast-zone";

/// How the demo is told.
#[derive(Debug)]
pub(crate) struct Plot {
    /// End after the first round.
    pub(crate) once: bool,
    /// The site with the forecasts; none: one of our own.
    pub(crate) site: Option<String>,
    /// The data directory; none: a new one that goes when the demo ends.
    pub(crate) data: Option<PathBuf>,
    /// Where Windlass listens.
    pub(crate) listen: String,
}

/// Tells the story until its end or until `stop`.
pub(crate) async fn tell(plot: Plot, stop: CancellationToken) -> Result<()> {
    let out = Output::new(false);
    let temporary = match plot.data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("windlass-demo-").tempdir()?),
    };
    let data =
        plot.data.or_else(|| temporary.as_ref().map(|t| t.path().to_owned())).context("no data directory")?;
    // As much of a sandbox as this host has. The site is on its loopback, which only the network of the host reaches.
    let flags = ["--listen", &plot.listen, "--set", "sandbox.policy=degrade", "--set", "network.host=true"];
    let windlass = Windlass::start("up", &data, &flags)?;
    say(&out, &format!("Windlass runs at {} (data in {})", windlass.client.url(), data.display()))?;

    let practice = Site::new(jiff::Timestamp::now());
    let zones: Vec<String> = practice.zones().iter().map(|z| z.id.clone()).collect();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a port for the site")?;
    let practice = site::serve(&listener, practice).context("cannot serve the site")?;
    let site = plot.site.unwrap_or_else(|| practice.url());
    say(&out, &format!("The forecasts are at {site}"))?;

    upload(&windlass.client).await?;
    say(&out, &format!("Uploaded {COORDINATOR} and {ZONE}"))?;
    let schedule = schedule(&windlass.client, &site, &zones).await?;
    say(&out, &format!("Scheduled {COORDINATOR} every 10 minutes, first run now"))?;

    let mut told = 0;
    loop {
        let Some(summary) = stop.run_until_cancelled(round::follow(&windlass.client, schedule, told)).await
        else {
            break;
        };
        told += 1;
        out.line(&format!("\nRound {told}\n{}", summary?))?;
        if plot.once {
            break;
        }
        if told == 1 {
            out.line(&format!(
                "Look around from another terminal:\n\n  export WINDLASS_DATA={}\n  windlass tasks\n  windlass tasks --error\n  \
                 windlass task ID\n\nThe next round is in 10 minutes. Ctrl-C ends the demo.",
                data.display()
            ))?;
        }
    }
    Ok(())
}

fn say(out: &Output, line: &str) -> Result<()> {
    Ok(out.line(line)?)
}

async fn upload(client: &Client) -> Result<()> {
    // Both workers are in this binary, as `windlass outcast …`, so that the demo needs no other tool to be built or
    // installed. Two packages with the same content are one file in the store.
    let binary = std::env::current_exe().context("cannot find this binary")?;
    let zip = Package::new().file("windlass", binary).zip()?;
    for (name, command, retries) in
        [(COORDINATOR, "./windlass outcast coordinator", 0), (ZONE, "./windlass outcast zone", 2)]
    {
        let request = UploadRequest {
            name: Text::from(name),
            command: Text::from(command),
            retries: Number::from(retries),
            retries_delay: Number::from(1),
            network: Text::from(Network::Host.as_str()),
            ..UploadRequest::default()
        };
        client.upload(&request, Some(zip.clone()), None).await?;
    }
    Ok(())
}

async fn schedule(client: &Client, site: &str, zones: &[String]) -> Result<ScheduleId> {
    let layout: Layout = site.parse()?;
    let payload = match layout.index() {
        Some(_) => serde_json::json!({ "site": site }),
        // The real site has no list of its zones.
        None => serde_json::json!({ "site": site, "zones": zones }),
    };
    let request = ScheduleRequest {
        code_name: Text::from(COORDINATOR),
        name: Text::from("outcast"),
        payload: Some(Payload(payload.to_string().into_bytes())),
        run_every: Number::from(600),
        ..ScheduleRequest::default()
    };
    client.schedule(vec![request]).await?.first().copied().context("no schedule was made")
}
