//! One process from its start to its end: its output read, its limits kept, its whole group gone.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use windlass_model::exit::{Exit, Usage};
use windlass_model::log::Stream;

use crate::slots::SLOT_LIMIT;
use crate::spawner::{Child, End, Exited, Step};

/// How long output is waited for after the last process that could write any is dead.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a process runs before its output is read as it comes. Most that end sooner write less than a pipe holds,
/// which is read when they have ended; those that write more wait for us until then, this once.
const LISTEN_AFTER: Duration = Duration::from_millis(3);

/// What is to become of a running attempt. A later one in this order overrules an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    /// Let it run.
    #[default]
    Run,
    /// Its cancellation was asked for: end it and report.
    Cancel,
    /// The runner must stop: end it and give it back.
    GiveBack,
    /// It is no longer ours: end it at once and say nothing.
    Abandon,
}

/// Takes the output of a process.
pub(crate) trait Output: Send {
    /// Takes what was read, `at_ms` after the start.
    fn write(&mut self, stream: Stream, at_ms: u32, bytes: &[u8]);
    /// When [`Output::flush`] wants to be called; none: not until more is written.
    fn flush_at(&self) -> Option<Instant>;
    /// Passes on what was taken.
    fn flush(&mut self);
}

/// How a process came to its end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It ran, and nothing of it is left.
    Exited(Exit, Usage),
    /// Its program could not be run.
    Failed(Step, i32),
    /// The spawner died, and it with it.
    SpawnerLost,
    /// It was ended because it must not go on here.
    Stopped(Command),
}

/// Follows `child` to its end. Whatever the process does, reading never makes it wait.
///
/// It may wait with the spawner; if for too long, it is withdrawn and to be given back.
///
/// It is asked to end with SIGTERM to its whole group and, `grace` later, ended; what its main process leaves behind
/// is ended in any case.
pub(crate) async fn supervise(
    child: &mut Child,
    timeout: Duration,
    grace: Duration,
    commands: &mut watch::Receiver<Command>,
    output: &mut impl Output,
) -> Ended {
    let mut started = Instant::now();
    let at_ms = |started: Instant| u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
    let mut ending: Option<Why> = None;
    let mut has_commander = true;
    // When it started is asked when it matters: then it has run for all of its time by the spawner's clock, too.
    let mut knows_start = false;
    let (first, listen_after) =
        if child.starts_at_once() { (timeout, LISTEN_AFTER) } else { (SLOT_LIMIT, SLOT_LIMIT) };
    let (deadline, listen) = (sleep_until(started + first), sleep_until(started + listen_after));
    tokio::pin!(deadline, listen);
    let mut is_listening = false;
    let end = loop {
        tokio::select! {
            biased;
            end = &mut child.end => break end,
            changed = commands.changed(), if has_commander => {
                has_commander = changed.is_ok();
                let why = Why::Told(*commands.borrow_and_update());
                let is_new = why > Why::Told(Command::Run) && ending.is_none_or(|now| now < why);
                if is_new {
                    ending = Some(why);
                    let at_once = why == Why::Told(Command::Abandon) || grace.is_zero();
                    child.kill(if at_once { libc::SIGKILL } else { libc::SIGTERM }).await;
                    deadline.as_mut().reset(Instant::now() + grace);
                }
            }
            since = &mut child.start, if !knows_start => {
                knows_start = true;
                started = since.unwrap_or(started);
                listen.as_mut().reset(started + LISTEN_AFTER);
                if ending.is_none() {
                    deadline.as_mut().reset(started + timeout);
                }
            }
            () = &mut deadline => {
                if !knows_start && ending.is_none() {
                    // The answer says that it runs, and since when, or that it is withdrawn.
                    child.kill(0).await;
                    deadline.as_mut().reset(Instant::now() + timeout);
                } else {
                    let is_first = ending.is_none() && !grace.is_zero();
                    child.kill(if is_first { libc::SIGTERM } else { libc::SIGKILL }).await;
                    ending.get_or_insert(Why::TimedOut);
                    // Again and again: a process that cannot be killed now may be later.
                    deadline.as_mut().reset(Instant::now() + grace.max(LAST_WORDS));
                }
            }
            () = &mut listen, if !is_listening => {
                is_listening = true;
                child.stdout.listen();
                child.stderr.listen();
            }
            () = child.stdout.more(), if is_listening && child.stdout.is_open() => {
                child.stdout.pass(|bytes| output.write(Stream::Stdout, at_ms(started), bytes));
            }
            () = child.stderr.more(), if is_listening && child.stderr.is_open() => {
                child.stderr.pass(|bytes| output.write(Stream::Stderr, at_ms(started), bytes));
            }
            () = sleep_until(output.flush_at().unwrap_or(started)), if output.flush_at().is_some() => output.flush(),
        }
    };
    // Everybody who could write is dead: what the pipes hold is all there will be. The limit is for a process that
    // got hold of a pipe and escaped us.
    child.stdout.drain(|bytes| output.write(Stream::Stdout, at_ms(started), bytes));
    child.stderr.drain(|bytes| output.write(Stream::Stderr, at_ms(started), bytes));
    let limit = Instant::now() + LAST_WORDS;
    while child.stdout.is_open() || child.stderr.is_open() {
        child.stdout.listen();
        child.stderr.listen();
        let more = async {
            tokio::select! {
                () = child.stdout.more(), if child.stdout.is_open() => {}
                () = child.stderr.more(), if child.stderr.is_open() => {}
            }
        };
        // The time is looked at by itself, too: whoever writes without a pause never lets the wait come to it.
        let is_late = timeout_at(limit, more).await.is_err() || Instant::now() >= limit;
        child.stdout.pass(|bytes| output.write(Stream::Stdout, at_ms(started), bytes));
        child.stderr.pass(|bytes| output.write(Stream::Stderr, at_ms(started), bytes));
        if is_late {
            break;
        }
    }
    match (end, ending) {
        (_, Some(Why::Told(command @ (Command::GiveBack | Command::Abandon)))) => Ended::Stopped(command),
        (Err(_), _) => Ended::SpawnerLost,
        (Ok(End::Withdrawn), Some(Why::Told(_))) => Ended::Exited(Exit::Cancelled, Usage::default()),
        (Ok(End::Withdrawn), _) => Ended::Stopped(Command::GiveBack),
        (Ok(End::Failed { step, errno }), _) => Ended::Failed(step, errno),
        (Ok(End::Exited(exited)), ending) => {
            let Exited { status, wall_us, user_us, system_us, peak_memory_bytes, memory, gaps, .. } = exited;
            child.gaps = gaps;
            let exit = match ending {
                // Whatever else came of it: one of its processes was killed, and it may not have noticed.
                None | Some(Why::TimedOut) if memory.oom_kills > 0 => Exit::OutOfMemory {
                    limit_bytes: child.memory_limit.unwrap_or(memory.oom_peak_bytes),
                    peak_bytes: memory.oom_peak_bytes,
                },
                Some(Why::TimedOut) => Exit::TimedOut,
                Some(Why::Told(_)) => Exit::Cancelled,
                None if libc::WIFSIGNALED(status) => Exit::Signal(libc::WTERMSIG(status)),
                None => Exit::Code(libc::WEXITSTATUS(status)),
            };
            let wall_ms = (wall_us + 500) / 1000;
            Ended::Exited(exit, Usage { wall_ms, user_us, system_us, peak_memory_bytes })
        }
    }
}

/// Why a process is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    TimedOut,
    Told(Command),
}
