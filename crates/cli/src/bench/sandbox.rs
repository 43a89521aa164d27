//! What a sandbox around each task costs: beside a bare start, and beside other programs that isolate.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::bare::{self, STAMP};
use super::plan::{ANY_PORT, Effort, README, STAMPER, TRUE, end_to_end, pickups, true_tasks, upload};
use super::report::Figure;
use super::stats::{median, ms};
use super::wrappers::{self, Runc};
use crate::child::Windlass;

/// The package whose tasks compute something in Python, and what.
const FIBONACCI: &str = "bench-fibonacci";
const PROGRAM: (&str, &str) =
    ("fib.py", "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n\n\nprint(fib(10))\n");
/// Not by its name alone, which may mean something else on the host.
const PYTHON: &str = "/usr/bin/python3";
const PYTHON_TASKS: usize = 40;

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
    let mut figures = rates(effort, &server, data, slots, say).await?;

    say("pickup of a task by an idle server, in a sandbox");
    upload(&server.client, STAMPER, README, STAMP).await?;
    let pickup = pickups(&server.client, effort.pickups).await?;
    let name = "idle pickup in a sandbox, POST to first instruction";
    figures.push(Figure::new(format!("{name}, p50"), ms(pickup.median()), "ms"));
    figures.push(Figure::new(format!("{name}, p99"), ms(pickup.percentile(0.99)), "ms"));

    if Path::new(PYTHON).exists() {
        say("light Python tasks, each in a sandbox");
        figures.push(python(effort, &server, data, slots).await?);
    } else {
        say(&format!("no Python tasks are measured, as there is no {PYTHON}"));
    }
    Ok(figures)
}

/// Rates of `true`: ours, a bare start, and others that isolate.
async fn rates(
    effort: Effort,
    server: &Windlass,
    data: &Path,
    slots: usize,
    say: &impl Fn(&str),
) -> Result<Vec<Figure>> {
    say("`true` from end to end, each in a sandbox");
    let code = upload(&server.client, TRUE, README, "true").await?;
    true_tasks(&server.client, code, effort.tasks / 10).await?;
    let runc = Runc::new(&data.with_extension("runc"))?;
    let contain = |number| runc.command(number);
    let has = |name: &str, tried: Result<_>| {
        let is_there = tried.is_ok();
        if let Err(why) = tried {
            say(&format!("nothing is compared with {name}, which does not run here: {why:#}"));
        }
        is_there
    };
    let has_bubblewrap = has("bwrap", bare::spawn(1, 1, wrappers::bubblewrap));
    let has_runc = has("runc", bare::spawn(1, 1, contain));
    let (mut ours, mut spawned, mut wrapped, mut contained) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        spawned.push(bare::spawn(slots, effort.tasks, bare::nothing)?.0);
        if has_bubblewrap {
            wrapped.push(bare::spawn(slots, effort.tasks / 4, wrappers::bubblewrap)?.0);
        }
        if has_runc {
            contained.push(bare::spawn(slots, effort.tasks / 20, contain)?.0);
        }
        ours.push(true_tasks(&server.client, code, effort.tasks).await?);
    }
    let rate = median(ours);
    let figure =
        || Figure::new(format!("`true` tasks end to end in a sandbox, {slots} slots"), rate, "tasks/s");
    let mut figures = vec![figure().beside("posix_spawn of `true`", median(spawned)).at_least(400.0)];
    if has_bubblewrap {
        figures.push(figure().beside("bwrap --unshare-all", median(wrapped)).ratio_of_at_least(3.0));
    }
    if has_runc {
        figures.push(figure().beside("runc run", median(contained)).ratio_of_at_least(20.0));
    }
    Ok(figures)
}

/// Tasks that take a little longer, beside `xargs` that starts as many at once.
async fn python(effort: Effort, server: &Windlass, data: &Path, slots: usize) -> Result<Figure> {
    let code = upload(&server.client, FIBONACCI, PROGRAM, &format!("{PYTHON} {}", PROGRAM.0)).await?;
    let program = data.with_extension("py");
    std::fs::write(&program, PROGRAM.1)?;
    end_to_end(&server.client, code, FIBONACCI, slots).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        bare.push(ms(xargs(slots, &program)?));
        ours.push(ms(end_to_end(&server.client, code, FIBONACCI, PYTHON_TASKS).await?));
    }
    let name = format!("{PYTHON_TASKS} Python tasks, fib(10), in a sandbox, {slots} slots");
    let figure = Figure::new(name, median(ours), "ms");
    Ok(figure.beside(format!("xargs -P{slots} python3"), median(bare)).ratio_of_at_most(1.3))
}

fn xargs(slots: usize, program: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut command = Command::new("xargs");
    command.args(["-P", &slots.to_string(), "-I", "{}", PYTHON]).arg(program).arg("{}");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot start `xargs`")?;
    if let Some(mut input) = child.stdin.take() {
        for number in 0..PYTHON_TASKS {
            std::io::Write::write_all(&mut input, format!("{number}\n").as_bytes())?;
        }
    }
    ensure!(child.wait()?.success(), "`xargs` failed");
    Ok(start.elapsed())
}
