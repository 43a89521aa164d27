//! What a sandbox around each task costs: beside a bare start, and beside another program that isolates.

use std::path::Path;

use anyhow::Result;

use super::bare::{self, STAMP};
use super::plan::{ANY_PORT, Effort, STAMPER, TRUE, end_to_end, pickups, upload};
use super::report::Figure;
use super::stats::{median, ms};
use crate::child::Windlass;

/// What bubblewrap is asked for: every namespace, and the host's files read-only. It sets no limits and filters no calls.
const BUBBLEWRAP: [&str; 8] = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"];

/// The same tasks as without a sandbox, each in one with the network `egress`. Nothing, said aloud, where this host cannot
/// isolate.
pub(super) async fn figures(effort: Effort, data: &Path, say: &impl Fn(&str)) -> Result<Vec<Figure>> {
    let slots = std::thread::available_parallelism().map_or(1, usize::from);
    let slots_text = slots.to_string();
    let flags = [ANY_PORT.as_slice(), &["--slots", &slots_text, "--set", "sandbox.policy=require"]].concat();
    let server = match Windlass::start("up", data, &flags) {
        Ok(server) => server,
        Err(why) => {
            say(&format!("no sandbox is measured, as this host has none: {why:#}"));
            return Ok(Vec::new());
        }
    };
    say("`true` from end to end, each in a sandbox");
    let code = upload(&server.client, TRUE, "true").await?;
    end_to_end(&server.client, code, effort.tasks / 10).await?;
    let (mut ours, mut spawned, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
    let has_bubblewrap = bare::spawn(1, 1, &BUBBLEWRAP).is_ok();
    for _ in 0..effort.runs {
        spawned.push(bare::spawn(slots, effort.tasks, &["true"])?.0);
        if has_bubblewrap {
            wrapped.push(bare::spawn(slots, effort.tasks / 4, &BUBBLEWRAP)?.0);
        }
        ours.push(end_to_end(&server.client, code, effort.tasks).await?);
    }
    let name = format!("`true` tasks end to end in a sandbox, {slots} slots");
    let rate = median(ours);
    let figure = Figure::new(name.clone(), rate, "tasks/s").beside("posix_spawn of `true`", median(spawned));
    let mut figures = vec![figure.at_least(400.0)];
    if has_bubblewrap {
        let beside = Figure::new(name, rate, "tasks/s").beside("bwrap --unshare-all", median(wrapped));
        figures.push(beside.ratio_of_at_least(3.0));
    }

    say("pickup of a task by an idle server, in a sandbox");
    upload(&server.client, STAMPER, STAMP).await?;
    let pickup = pickups(&server.client, effort.pickups).await?;
    let name = "idle pickup in a sandbox, POST to first instruction";
    figures.push(Figure::new(format!("{name}, p50"), ms(pickup.median()), "ms"));
    figures.push(Figure::new(format!("{name}, p99"), ms(pickup.percentile(0.99)), "ms"));
    Ok(figures)
}
