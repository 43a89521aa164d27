//! What is counted, for Prometheus. Counters live here; what is queued is read from the store when it is asked for.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use windlass_model::task::Status;

/// Everything that is counted. Names have the prefix `windlass_`; labels are small closed sets.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `http_requests_total{code}`: requests answered.
    pub requests: Family<Code, Counter>,
    /// `http_connections`: open connections.
    pub connections: Gauge,
    /// `tasks_queued_total`: tasks accepted, by request or schedule.
    pub queued: Counter,
    /// `tasks_claimed_total`: attempts handed to runners.
    pub claimed: Counter,
    /// `attempts_finished_total{status}`: reports written, by where the task stood afterwards.
    pub finished: Family<Ended, Counter>,
    /// `reports_refused_total`: reports of attempts that were no longer their runner's.
    pub refused: Counter,
    /// `tasks_rescued_total`: attempts taken from runners that fell silent.
    pub rescued: Counter,
    /// `schedules_fired_total`: firings written.
    pub fired: Counter,
    /// `compute_seconds_total`: wall time of finished attempts: what users get.
    pub compute: Counter<f64, AtomicU64>,
    /// `loop_failures_total{loop}`: steps of a loop that failed and will be tried again.
    pub loop_failures: Family<Loop, Counter>,
}

/// The status of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// 200, 404, …
    pub code: u16,
}

/// A task's status after a report.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ended {
    /// `complete`, …
    pub status: &'static str,
}

/// One of the loops.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Loop {
    /// `scheduler`, …
    pub r#loop: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Depth {
    cluster: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InCluster {
    cluster: String,
}

/// How things stand at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Tasks by cluster and status.
    pub tasks: Vec<(String, Status, u64)>,
    /// Runners, slots and running tasks by cluster.
    pub runners: Vec<(String, u64, u64, u64)>,
    /// Age of the oldest task that could run.
    pub oldest_ready_seconds: f64,
    /// Whether this server leads.
    pub is_leading: bool,
    /// The term of whichever leads; 0 where there can be but one server.
    pub leader_term: i64,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("windlass");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let connections = Gauge::default();
        registry.register("http_connections", "Open connections", connections.clone());
        let queued = Counter::default();
        registry.register("tasks_queued", "Tasks accepted", queued.clone());
        let claimed = Counter::default();
        registry.register("tasks_claimed", "Attempts handed to runners", claimed.clone());
        let finished = Family::default();
        registry.register(
            "attempts_finished",
            "Reports written, by the task's status afterwards",
            finished.clone(),
        );
        let refused = Counter::default();
        registry.register("reports_refused", "Reports whose lease was lost", refused.clone());
        let rescued = Counter::default();
        registry.register("tasks_rescued", "Attempts taken from silent runners", rescued.clone());
        let fired = Counter::default();
        registry.register("schedules_fired", "Firings of schedules", fired.clone());
        let compute = Counter::<f64, AtomicU64>::default();
        registry.register("compute_seconds", "Wall time of finished attempts", compute.clone());
        let loop_failures = Family::default();
        registry.register("loop_failures", "Steps of a loop that failed", loop_failures.clone());
        Self {
            registry,
            requests,
            connections,
            queued,
            claimed,
            finished,
            refused,
            rescued,
            fired,
            compute,
            loop_failures,
        }
    }

    /// The text that Prometheus reads.
    pub fn render(&self, standing: &Standing) -> String {
        let mut now = Registry::with_prefix("windlass");
        let tasks: Family<Depth, Gauge> = Family::default();
        now.register("tasks", "Tasks kept, by cluster and status", tasks.clone());
        for (cluster, status, n) in &standing.tasks {
            let labels = Depth { cluster: cluster.clone(), status: status.as_str() };
            tasks.get_or_create(&labels).set(i64::try_from(*n).unwrap_or(i64::MAX));
        }
        let gauges = [
            ("runners", "Runners that take tasks"),
            ("slots", "Slots of runners that take tasks"),
            ("slots_busy", "Tasks that runners hold"),
        ]
        .map(|(name, help)| {
            let gauge: Family<InCluster, Gauge> = Family::default();
            now.register(name, help, gauge.clone());
            gauge
        });
        for (cluster, runners, slots, busy) in &standing.runners {
            let labels = InCluster { cluster: cluster.clone() };
            for (gauge, n) in gauges.iter().zip([runners, slots, busy]) {
                gauge.get_or_create(&labels).set(i64::try_from(*n).unwrap_or(i64::MAX));
            }
        }
        for (name, help, value) in [
            ("leading", "Whether this server leads: 1 or 0", i64::from(standing.is_leading)),
            ("leader_term", "How often another server began to lead", standing.leader_term),
        ] {
            let gauge: Gauge = Gauge::default();
            gauge.set(value);
            now.register(name, help, gauge);
        }
        let oldest: Gauge<f64, AtomicU64> = Gauge::default();
        oldest.set(standing.oldest_ready_seconds);
        now.register("oldest_ready_seconds", "Age of the oldest task that could run", oldest);

        let (mut counters, mut text) = (String::new(), String::new());
        encode(&mut text, &now).expect("text can be written to a string");
        encode(&mut counters, &self.registry).expect("text can be written to a string");
        let text = text.trim_end().trim_end_matches("# EOF");
        format!("{text}{counters}")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
