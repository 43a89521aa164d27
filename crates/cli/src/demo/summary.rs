//! What a round of the demo came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use windlass_model::runner::Isolation;
use windlass_model::task::Status;
use windlass_model::wire::tasks::{Attempt, Task};

/// One zone's task and what its attempts were.
#[derive(Debug)]
pub(super) struct ZoneTask {
    pub(super) task: Task,
    pub(super) attempts: Vec<Attempt>,
}

/// A round: every task that one firing of the schedule led to.
#[derive(Debug)]
pub(super) struct Summary {
    tasks: usize,
    failures: Vec<(String, String)>,
    retried: usize,
    attempts: usize,
    wall: Duration,
    compute: Duration,
    slowest: Option<(String, Duration)>,
    isolation: Option<Isolation>,
}

impl Summary {
    /// The summary of tasks that were queued and ended within `wall`.
    pub(super) fn of(zones: &[ZoneTask], wall: Duration) -> Self {
        let millis = |attempt: &Attempt| attempt.usage.map_or(0, |usage| usage.wall_ms);
        let failed = zones.iter().filter(|z| z.task.status != Status::Complete);
        let slowest = zones.iter().map(|z| (&z.task.label, z.attempts.iter().map(millis).max().unwrap_or(0)));
        Self {
            tasks: zones.len(),
            failures: failed.map(|z| (z.task.label.clone(), first_line(&z.task.msg))).collect(),
            retried: zones
                .iter()
                .filter(|z| z.task.status == Status::Complete && z.attempts.len() > 1)
                .count(),
            attempts: zones.iter().map(|z| z.attempts.len()).sum(),
            wall,
            compute: Duration::from_millis(zones.iter().flat_map(|z| &z.attempts).map(millis).sum()),
            slowest: slowest
                .max_by_key(|(_, ms)| *ms)
                .map(|(zone, ms)| (zone.clone(), Duration::from_millis(ms))),
            isolation: zones.iter().flat_map(|z| &z.attempts).find_map(|a| a.isolation.clone()),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let complete = self.tasks - self.failures.len();
        let seconds = self.wall.as_secs_f64();
        writeln!(f, "  tasks         {} ({complete} complete, {} failed)", self.tasks, self.failures.len())?;
        writeln!(f, "  attempts      {} ({} tasks succeeded on a retry)", self.attempts, self.retried)?;
        writeln!(f, "  wall time     {seconds:.2} s, {:.0} tasks/s", self.tasks as f64 / seconds.max(0.001))?;
        writeln!(f, "  compute time  {:.2} s, the sum over all attempts", self.compute.as_secs_f64())?;
        if let Some((zone, time)) = &self.slowest {
            writeln!(f, "  slowest       {zone}, {} ms", time.as_millis())?;
        }
        if let Some(isolation) = &self.isolation {
            writeln!(f, "  isolation     {}", isolation.level)?;
        }
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (zone, reason) in &self.failures {
            reasons.entry(reason).or_default().push(zone);
        }
        for (n, (reason, zones)) in reasons.iter().enumerate() {
            let title = if n == 0 { "failed" } else { "" };
            writeln!(f, "  {title:<13} {}: {reason}", zones.join(", "))?;
        }
        Ok(())
    }
}
