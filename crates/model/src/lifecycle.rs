//! The life of a task as pure rules: what each event makes of each state, and what an attempt's end means.
//!
//! [`next`] is the whole table; `docs/lifecycle.md` shows it, and a snapshot test keeps the two alike.

use std::fmt;

use crate::exit::{Again, Exit, Outcome, Verdict};
use crate::lease::MAX_LOSSES;
use crate::retry::{MAX_UNABLE, RetryPolicy, after_unable};
use crate::size;
use crate::task::Status;
use crate::time::Timestamp;

/// What a worker that was cancelled is told to have ended with.
pub const CANCELLED_MSG: &str = "Cancelled via API.";
/// What a task that ran too long is told to have ended with.
pub const TIMEOUT_MSG: &str = "Job timed out.";
/// What a task that was cancelled with its package is told to have ended with.
pub const CODE_DELETED_MSG: &str = "Its code was deleted.";
/// What an attempt that its runner gave back is told to have ended with.
pub const GIVEN_BACK_MSG: &str = "given back by its runner";
/// What an attempt whose runner fell silent is told to have ended with.
pub const LOST_MSG: &str = "its runner was lost";

/// Where a task is, finer than its [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Queued, not yet due.
    Delayed,
    /// Queued and due.
    Ready,
    /// Claimed, image being pulled.
    Preparing,
    /// Claimed.
    Running,
    /// Claimed, and somebody asked to cancel it.
    Cancelling,
    /// Final.
    Ended(Status),
}

/// What can happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its time came.
    FallDue,
    /// A runner took it.
    Claim,
    /// A runner took it and pulls its image.
    Prepare,
    /// Its image is there and its process starts.
    Start,
    /// Its process ended with exit code 0.
    Succeed,
    /// It failed and no retry is left.
    Fail,
    /// It ran too long and no retry is left.
    TimeOut,
    /// It failed or ran too long and a retry is left.
    Retry,
    /// Its process was ended on request.
    Die,
    /// Somebody asked to cancel it.
    Cancel,
    /// Its runner fell silent, gave it back, or could not do its part.
    Lose,
    /// The same, once too often.
    LoseAgain,
}

impl Event {
    /// Every event, in the order of a task's life.
    pub const ALL: [Event; 12] = [
        Event::FallDue,
        Event::Claim,
        Event::Prepare,
        Event::Start,
        Event::Succeed,
        Event::Fail,
        Event::TimeOut,
        Event::Retry,
        Event::Die,
        Event::Cancel,
        Event::Lose,
        Event::LoseAgain,
    ];
}

/// Every state, in the order of a task's life.
pub const STATES: [State; 10] = [
    State::Delayed,
    State::Ready,
    State::Preparing,
    State::Running,
    State::Cancelling,
    State::Ended(Status::Complete),
    State::Ended(Status::Error),
    State::Ended(Status::Timeout),
    State::Ended(Status::Cancelled),
    State::Ended(Status::Killed),
];

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Delayed => "delayed",
            State::Ready => "ready",
            State::Preparing => "preparing",
            State::Running => "running",
            State::Cancelling => "cancelling",
            State::Ended(status) => status.as_str(),
        })
    }
}

impl State {
    /// The status that users see.
    pub const fn status(self) -> Status {
        match self {
            State::Delayed | State::Ready => Status::Queued,
            State::Preparing => Status::Preparing,
            State::Running | State::Cancelling => Status::Running,
            State::Ended(status) => status,
        }
    }
}

/// The state after `event` happened in `state`; none where it cannot happen there and is refused.
///
/// A retry may be due at once, and a task queued again may have to wait: both are `Delayed`, as falling due is an
/// event of its own. A cancel of a final task changes nothing and is not refused: that is what clients expect.
pub const fn next(state: State, event: Event) -> Option<State> {
    use Event as E;
    use State as S;
    let after = match (state, event) {
        (S::Delayed, E::FallDue) => S::Ready,
        (S::Ready, E::Claim) => S::Running,
        (S::Ready, E::Prepare) => S::Preparing,
        (S::Preparing, E::Start) => S::Running,
        (S::Delayed | S::Ready, E::Cancel) => S::Ended(Status::Cancelled),
        (S::Preparing | S::Running | S::Cancelling, E::Cancel) => S::Cancelling,
        (S::Ended(status), E::Cancel) => S::Ended(status),

        (S::Running | S::Cancelling, E::Succeed) => S::Ended(Status::Complete),
        (S::Preparing | S::Running | S::Cancelling, E::Fail) => S::Ended(Status::Error),
        (S::Running | S::Cancelling, E::TimeOut) => S::Ended(Status::Timeout),
        (S::Preparing | S::Running | S::Cancelling, E::Die) => S::Ended(Status::Cancelled),
        (S::Preparing | S::Running, E::Retry | E::Lose) => S::Delayed,
        (S::Preparing | S::Running, E::LoseAgain) => S::Ended(Status::Killed),
        // Whoever asked to cancel it must never see it run again.
        (S::Cancelling, E::Retry | E::Lose | E::LoseAgain) => S::Ended(Status::Cancelled),
        _ => return None,
    };
    Some(after)
}

/// What a verdict needs to know of the attempt that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Retries used before this attempt.
    pub retries: u32,
    /// Runners lost before this attempt.
    pub losses: u32,
    /// Times that a runner could not do its part before this attempt. It is counted from the task's attempts, where it
    /// matters: only what follows from another such attempt depends on it.
    pub unable: u32,
    /// Whether somebody asked to cancel the task.
    pub cancel_requested: bool,
}

/// What the end of an attempt means for its task: a pure function of the facts and the policy.
///
/// `stderr_tail` is the end of what the worker wrote to standard error, the best message there is for a failure.
/// `jitter` is between 0 and 1. A task whose cancellation was asked for never comes back; if its process ended by
/// itself in the meantime, the verdict says how.
pub fn conclude(
    trial: Trial,
    outcome: &Outcome,
    stderr_tail: &str,
    policy: RetryPolicy,
    jitter: f64,
    now: Timestamp,
) -> Verdict {
    let (event, msg, error_class) = match outcome {
        Outcome::Lost => (Event::Lose, Some(LOST_MSG.to_owned()), None),
        Outcome::Exited(exit) => ended(exit, stderr_tail),
    };
    let again = match (event, outcome) {
        (Event::Fail | Event::TimeOut, _) => {
            policy.next(trial.retries, jitter, now).map(|at| (Event::Retry, at, Again::Retry))
        }
        (Event::Lose, Outcome::Lost) => {
            (trial.losses + 1 < MAX_LOSSES).then_some((Event::Lose, now, Again::Lost))
        }
        (Event::Lose, _) => {
            after_unable(trial.unable, jitter, now).map(|at| (Event::Lose, at, Again::Unable))
        }
        _ => None,
    };
    let event = match (again, event) {
        (Some((event, ..)), _) => event,
        (None, Event::Lose) => Event::LoseAgain,
        (None, event) => event,
    };
    let msg = match (event, outcome) {
        (Event::LoseAgain, Outcome::Lost) => Some(format!("gave up: lost its runner {MAX_LOSSES} times")),
        (Event::LoseAgain, _) => {
            msg.map(|why| format!("gave up: its runners could not run it {MAX_UNABLE} times, at last: {why}"))
        }
        (Event::Lose, Outcome::Exited(_)) => {
            let nth = trial.unable + 1;
            msg.map(|why| format!("its runner could not run it ({nth} of {MAX_UNABLE} times): {why}"))
        }
        _ => msg,
    };
    let state = if trial.cancel_requested { State::Cancelling } else { State::Running };
    match (next(state, event), again) {
        (Some(State::Ended(Status::Cancelled)), _) => cancelled(),
        (Some(State::Ended(status)), _) => Verdict::Final { status, msg, error_class },
        (_, again) => {
            let (run_at, why) = again.map_or((now, Again::Lost), |(_, at, why)| (at, why));
            Verdict::Again { run_at, why, msg: msg.unwrap_or_default() }
        }
    }
}

/// The verdict for a task that was cancelled.
pub fn cancelled() -> Verdict {
    Verdict::Final { status: Status::Cancelled, msg: Some(CANCELLED_MSG.to_owned()), error_class: None }
}

impl Verdict {
    /// The verdict to write when a cancel was accepted after it was reached and before it was written.
    pub fn unless_cancelled(self, cancel_requested: bool) -> Verdict {
        match self {
            Verdict::Again { .. } if cancel_requested => cancelled(),
            verdict => verdict,
        }
    }
}

fn ended(exit: &Exit, stderr_tail: &str) -> (Event, Option<String>, Option<String>) {
    let or_tail = |text: String| if stderr_tail.is_empty() { text } else { stderr_tail.to_owned() };
    match exit {
        Exit::Code(0) => (Event::Succeed, None, None),
        Exit::Code(code) => {
            (Event::Fail, Some(or_tail(format!("exit code {code}"))), Some(format!("Process Exit {code}")))
        }
        Exit::Signal(signal) => (
            Event::Fail,
            Some(or_tail(format!("ended by signal {signal}"))),
            Some(format!("Signal {signal}")),
        ),
        Exit::Error { class, msg } => (Event::Fail, Some(msg.clone()), Some(class.clone())),
        Exit::TimedOut => (Event::TimeOut, Some(TIMEOUT_MSG.to_owned()), None),
        Exit::Cancelled => (Event::Die, None, None),
        Exit::OutOfMemory { limit_bytes, peak_bytes } => {
            let (limit, peak) = (size::show(*limit_bytes), size::show(*peak_bytes));
            let msg = format!("out of memory: the limit is {limit}, the peak was {peak}");
            (Event::Fail, Some(msg), Some("Out Of Memory".to_owned()))
        }
        Exit::Unable(reason) => (Event::Lose, Some(reason.clone()), None),
        Exit::NotStarted(reason) => (Event::Fail, Some(reason.clone()), Some("Not Started".to_owned())),
    }
}

/// The table of [`next`] as text: a row per state, a column per event, `.` where the event is refused.
pub fn matrix() -> String {
    use std::fmt::Write as _;
    let mut out = format!("{:<11}", "");
    for event in Event::ALL {
        let _ = write!(out, "{:<11}", format!("{event:?}"));
    }
    for state in STATES {
        let _ = write!(out, "\n{state:<11}");
        for event in Event::ALL {
            let _ = match next(state, event) {
                Some(after) => write!(out, "{after:<11}"),
                None => write!(out, "{:<11}", "."),
            };
        }
    }
    let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIAL: Trial = Trial { retries: 0, losses: 0, unable: 0, cancel_requested: false };
    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn verdict(trial: Trial, outcome: &Outcome, retries: u32) -> Verdict {
        conclude(trial, outcome, "", RetryPolicy { retries, delay_ms: 5_000 }, 0.0, NOW)
    }

    fn status(verdict: &Verdict) -> Option<Status> {
        match verdict {
            Verdict::Final { status, .. } => Some(*status),
            Verdict::Again { .. } => None,
        }
    }

    #[test]
    fn every_state_and_event() {
        insta::assert_snapshot!(matrix());
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lifecycle.md")).unwrap();
        assert!(page.contains(&matrix()), "docs/lifecycle.md must show the table as it is:\n{}", matrix());
    }

    #[test]
    fn nothing_but_a_cancel_happens_to_a_final_task() {
        for state in STATES.into_iter().filter(|s| s.status().is_final()) {
            for event in Event::ALL {
                let after = next(state, event);
                assert!(
                    after.is_none() || (event == Event::Cancel && after == Some(state)),
                    "{state} {event:?}"
                );
            }
        }
    }

    #[test]
    fn a_task_that_is_being_cancelled_never_comes_back() {
        for event in Event::ALL {
            if let Some(after) = next(State::Cancelling, event) {
                assert!(matches!(after, State::Cancelling | State::Ended(_)), "{event:?} leads to {after}");
            }
        }
    }

    #[test]
    fn a_failure_uses_a_retry_and_a_loss_does_not() {
        let failed = Outcome::Exited(Exit::Code(1));
        let again = verdict(TRIAL, &failed, 1);
        assert!(
            matches!(&again, Verdict::Again { run_at, why: Again::Retry, .. } if *run_at == Timestamp::from_secs(1_005))
        );
        assert_eq!(status(&verdict(Trial { retries: 1, ..TRIAL }, &failed, 1)), Some(Status::Error));
        let lost = verdict(TRIAL, &Outcome::Lost, 0);
        assert!(matches!(&lost, Verdict::Again { run_at, why: Again::Lost, .. } if *run_at == NOW));
    }

    #[test]
    fn three_lost_runners_are_poison() {
        let poisoned = verdict(Trial { losses: 2, ..TRIAL }, &Outcome::Lost, 5);
        assert_eq!(status(&poisoned), Some(Status::Killed));
    }

    #[test]
    fn runners_that_cannot_do_their_part_use_no_retry_and_are_borne_for_a_while() {
        let unable = Outcome::Exited(Exit::Unable("disk full".to_owned()));
        let again = verdict(Trial { losses: 2, ..TRIAL }, &unable, 0);
        assert_eq!(
            again,
            Verdict::Again {
                run_at: Timestamp::from_secs(1_002),
                why: Again::Unable,
                msg: "its runner could not run it (1 of 12 times): disk full".to_owned()
            }
        );
        let last = verdict(Trial { unable: MAX_UNABLE - 1, ..TRIAL }, &unable, 5);
        let msg = "gave up: its runners could not run it 12 times, at last: disk full".to_owned();
        assert_eq!(last, Verdict::Final { status: Status::Killed, msg: Some(msg), error_class: None });
        let cancelled = verdict(Trial { cancel_requested: true, ..TRIAL }, &unable, 5);
        assert_eq!(status(&cancelled), Some(Status::Cancelled));
    }

    #[test]
    fn a_cancelled_task_is_not_retried_but_a_success_stands() {
        let trial = Trial { cancel_requested: true, ..TRIAL };
        for outcome in [Outcome::Exited(Exit::Code(1)), Outcome::Exited(Exit::Cancelled), Outcome::Lost] {
            assert_eq!(status(&verdict(trial, &outcome, 5)), Some(Status::Cancelled), "{outcome:?}");
        }
        assert_eq!(status(&verdict(trial, &Outcome::Exited(Exit::Code(0)), 5)), Some(Status::Complete));
        assert_eq!(
            status(&verdict(TRIAL, &Outcome::Exited(Exit::Code(1)), 5).unless_cancelled(true)),
            Some(Status::Cancelled)
        );
    }

    #[test]
    fn the_message_of_a_failure_is_the_end_of_standard_error() {
        let failed = Outcome::Exited(Exit::Code(3));
        let said = conclude(TRIAL, &failed, "boom\n", RetryPolicy::default(), 0.0, NOW);
        assert_eq!(
            said,
            Verdict::Final {
                status: Status::Error,
                msg: Some("boom\n".to_owned()),
                error_class: Some("Process Exit 3".to_owned())
            }
        );
        let success = verdict(TRIAL, &Outcome::Exited(Exit::Code(0)), 0);
        assert_eq!(success, Verdict::Final { status: Status::Complete, msg: None, error_class: None });
    }
}
