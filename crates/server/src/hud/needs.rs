//! What needs a look first, the gravest at the top.

use std::time::Duration;

use windlass_model::code::Code;
use windlass_model::id::ProjectId;
use windlass_model::runner::RunnerRecord;
use windlass_model::schedule::{Schedule, ScheduleStatus};
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_store::types::Counts;

use super::show::{When, count, counted, failures};
use super::tasks::encoded;

/// A schedule that should have fired this long ago is late.
const LATE: Duration = Duration::from_secs(60);

/// Something that needs a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// Class of its colour.
    pub(super) tone: &'static str,
    pub(super) text: String,
    pub(super) link: String,
}

/// Of a package: tasks of it failed lately, or wait although it is paused.
pub(super) fn of_code(project: ProjectId, code: &Code, stand: &Counts, lately: &Counts) -> Vec<Need> {
    let mut needs = Vec::new();
    let (queued, failed) = (stand.get(Status::Queued), failures(lately));
    if failed > 0 {
        let of = failed + lately.get(Status::Complete);
        let text =
            format!("{}: {} of {} failed in the last hour", code.name, count(failed), counted(of, "task"));
        let name = encoded(&code.name);
        let link = format!("/p/{project}/tasks?code_name={name}&error=1&timeout=1&killed=1");
        needs.push(Need { tone: "error", text, link });
    }
    if code.is_paused && queued > 0 {
        let text = format!("{} is paused, with {} waiting", code.name, counted(queued, "task"));
        needs.push(Need { tone: "timeout", text, link: format!("/p/{project}/codes/{}", code.id) });
    }
    needs
}

/// Schedules whose time has passed and that did not fire.
pub(super) fn of_schedules(project: ProjectId, schedules: &[Schedule], now: Timestamp) -> Vec<Need> {
    let due = schedules.iter().filter(|s| s.state.status == ScheduleStatus::Scheduled);
    let late = due.filter_map(|s| Some((s, s.state.next_at.filter(|&at| at + LATE < now)?)));
    late.map(|(schedule, at)| Need {
        tone: "error",
        text: format!(
            "Schedule {} should have fired {}",
            super::schedules::name_of(schedule),
            When::new(at, now)
        ),
        link: format!("/p/{project}/schedules/{}", schedule.id),
    })
    .collect()
}

/// Runners that fell silent within `lately`, unless one is there from the same place; and whether any is there at all
/// for what is queued. One that said good-bye was heard shortly before it went: less than half a `lease`.
pub(super) fn of_runners(
    project: ProjectId,
    runners: &[(RunnerRecord, u32)],
    queued: u64,
    (lease, lately): (Duration, Duration),
    now: Timestamp,
) -> Vec<Need> {
    let link = format!("/p/{project}/runners");
    let live = |r: &RunnerRecord| r.gone_at.is_none();
    let mut needs = Vec::new();
    if queued > 0 && !runners.iter().any(|(r, _)| live(r) && !r.is_draining) {
        let text = format!("No runner takes tasks, and {} waiting", are(queued));
        needs.push(Need { tone: "error", text, link: link.clone() });
    }
    for (runner, _) in runners {
        let Some(gone_at) = runner.gone_at else { continue };
        let is_back =
            runners.iter().any(|(other, _)| live(other) && other.about.instance == runner.about.instance);
        if gone_at.since(runner.seen_at) * 2 < lease || gone_at + lately < now || is_back {
            continue;
        }
        let text = format!("Runner {} was lost {}", runner.about.name, When::new(gone_at, now));
        needs.push(Need { tone: "timeout", text, link: link.clone() });
    }
    needs
}

fn are(queued: u64) -> String {
    format!("{} {}", counted(queued, "task"), if queued == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::id::{RunnerId, Seq};
    use windlass_model::isolation::{Isolation, Level};
    use windlass_model::runner::Register;

    const LEASE: Duration = Duration::from_secs(30);
    const HOUR: Duration = Duration::from_secs(3600);

    fn runner(instance: &str, seen: i64, gone: Option<i64>) -> (RunnerRecord, u32) {
        let about = Register {
            name: instance.to_owned(),
            instance: instance.to_owned(),
            cluster: "default".to_owned(),
            slots: 1,
            labels: Vec::new(),
            version: String::new(),
            isolation: Isolation::new(Level::default(), Vec::new()),
        };
        let record = RunnerRecord {
            id: RunnerId::new(Seq(seen), 0),
            about,
            started_at: Timestamp::from_secs(0),
            seen_at: Timestamp::from_secs(seen),
            is_draining: false,
            gone_at: gone.map(Timestamp::from_secs),
        };
        (record, 0)
    }

    #[test]
    fn a_runner_that_is_lost_is_told_apart_from_one_that_left() {
        let project = ProjectId::new(Seq(1), 0);
        let runners = [
            runner("lost", 1_000, Some(1_031)),
            runner("left", 1_000, Some(1_003)),
            runner("back", 1_000, Some(1_031)),
            runner("back", 1_900, None),
            runner("long-ago", 1, Some(40)),
        ];
        let now = Timestamp::from_secs(4_000);
        let needs = of_runners(project, &runners, 3, (LEASE, HOUR), now);
        assert_eq!(needs.len(), 1, "{needs:?}");
        assert_eq!(needs[0].text, "Runner lost was lost 49 min ago");
        let needs = of_runners(project, &runners[1..2], 1, (LEASE, HOUR), now);
        assert_eq!(needs[0].text, "No runner takes tasks, and 1 task is waiting");
        assert_eq!(of_runners(project, &[], 0, (LEASE, HOUR), now), []);
    }
}
