//! A container from its start to its end: its output read, its time kept. That it has ended is for the engine to say.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use windlass_model::exit::{Exit, Usage};

use super::api::Api;
use super::call::CallError;
use super::container::State;
use super::stream::Pieces;
use crate::supervise::{Command, Output};

/// How long output is waited for after the container has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// When output ends the container has most often ended, too, which engines say sooner if they are asked: the time between
/// two questions at first, doubled with each, and the most. A worker that closed its output is then waited for.
const LOOK_AFTER: Duration = Duration::from_millis(5);
const LOOKS: u32 = 6;

/// Time before one is waited for again that runs although the engine said that it does not.
const WAIT_AGAIN: Duration = Duration::from_millis(100);

/// How a container came to its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// It ran.
    Exited(Exit, Usage),
    /// It was ended because it must not go on here.
    Stopped(Command),
}

/// Why a container is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    TimedOut,
    Told(Command),
}

/// What bounds a container.
pub(super) struct Bounds {
    pub(super) timeout: Duration,
    pub(super) grace: Duration,
    pub(super) memory_bytes: u64,
}

/// Follows a container that was just started to its end. An error means that the engine is gone, whatever became of the
/// container.
///
/// It is asked to end with SIGTERM and, a grace later, ended, with all its processes.
pub(super) async fn follow(
    api: &Api,
    id: &str,
    mut stream: Incoming,
    bounds: &Bounds,
    (commands, output): (&mut watch::Receiver<Command>, &mut impl Output),
) -> Result<Ended, CallError> {
    let started = Instant::now();
    let at_ms = || u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
    let mut pieces = Pieces::default();
    let mut is_open = true;
    let mut ending: Option<Why> = None;
    let mut has_commander = true;
    let mut look: Option<(Instant, u32)> = None;
    let deadline = sleep_until(started + bounds.timeout);
    let wait = until_over(api, id);
    tokio::pin!(deadline, wait);
    let state = loop {
        tokio::select! {
            biased;
            state = &mut wait => break state?,
            changed = commands.changed(), if has_commander => {
                has_commander = changed.is_ok();
                let why = Why::Told(*commands.borrow_and_update());
                if why > Why::Told(Command::Run) && ending.is_none_or(|now| now < why) {
                    ending = Some(why);
                    let at_once = why == Why::Told(Command::Abandon) || bounds.grace.is_zero();
                    api.kill(id, if at_once { "SIGKILL" } else { "SIGTERM" }).await?;
                    deadline.as_mut().reset(Instant::now() + bounds.grace);
                }
            }
            () = &mut deadline => {
                let is_first = ending.is_none() && !bounds.grace.is_zero();
                ending.get_or_insert(Why::TimedOut);
                api.kill(id, if is_first { "SIGTERM" } else { "SIGKILL" }).await?;
                // Again and again: an engine that could not may be able to later.
                deadline.as_mut().reset(Instant::now() + bounds.grace.max(LAST_WORDS));
            }
            () = sleep_until(look.map_or(started, |(at, _)| at)), if look.is_some() => {
                let state = api.state(id).await?;
                if state.is_over() {
                    break state;
                }
                look = look.filter(|(_, looks)| *looks < LOOKS).map(|(_, looks)| {
                    (Instant::now() + LOOK_AFTER * 2u32.pow(looks), looks + 1)
                });
            }
            frame = stream.frame(), if is_open => match frame {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(&[][..], |bytes| &bytes[..]);
                    pieces.push(bytes, |stream, bytes| output.write(stream, at_ms(), bytes));
                }
                Some(Err(_)) | None => {
                    is_open = false;
                    look = Some((Instant::now(), 0));
                }
            },
            () = sleep_until(output.flush_at().unwrap_or(started)), if output.flush_at().is_some() => output.flush(),
        }
    };
    let wall_ms = u64::from(at_ms());
    // An engine may keep a stream open for ever whose container is no more.
    let limit = Instant::now() + LAST_WORDS;
    while is_open && Instant::now() < limit {
        match timeout_at(limit, stream.frame()).await {
            Ok(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(&[][..], |bytes| &bytes[..]);
                pieces.push(bytes, |stream, bytes| output.write(stream, at_ms(), bytes));
            }
            _ => is_open = false,
        }
    }
    let exit = match ending {
        Some(Why::Told(command @ (Command::GiveBack | Command::Abandon))) => {
            return Ok(Ended::Stopped(command));
        }
        Some(Why::Told(_)) => Exit::Cancelled,
        Some(Why::TimedOut) if !state.is_out_of_memory() => Exit::TimedOut,
        _ => state.exit(bounds.memory_bytes),
    };
    Ok(Ended::Exited(exit, Usage { wall_ms, ..Usage::default() }))
}

/// Waits until the engine says, asked for its state, that the container has ended.
async fn until_over(api: &Api, id: &str) -> Result<State, CallError> {
    loop {
        api.wait(id).await?;
        let state = api.state(id).await?;
        if state.is_over() {
            return Ok(state);
        }
        tokio::time::sleep(WAIT_AGAIN).await;
    }
}
