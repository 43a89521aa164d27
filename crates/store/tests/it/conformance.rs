//! The databases do what the model does.

use async_trait::async_trait;
use proptest::prelude::*;
use windlass_store::Store;
use windlass_store::conformance::{Ending, Step, Subject, TaskStep, run};
use windlass_store::postgres::{self, Postgres};
use windlass_store::sqlite::{Options, Sqlite, audit};

use crate::cluster::{Database, cluster};

pub(crate) struct Embedded {
    dir: tempfile::TempDir,
    store: Option<Sqlite>,
}

impl Embedded {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(Sqlite::open(dir.path(), Options::default()).unwrap());
        Self { dir, store }
    }

    pub(crate) fn sqlite(&self) -> &Sqlite {
        self.store.as_ref().unwrap()
    }
}

#[async_trait]
impl Subject for Embedded {
    fn store(&self) -> &dyn Store {
        self.sqlite()
    }

    async fn reopen(&mut self) {
        self.store.take().unwrap().close().await;
        self.store = Some(Sqlite::open(self.dir.path(), Options::default()).unwrap());
    }

    async fn problems(&mut self) -> Vec<String> {
        audit(self.dir.path()).unwrap()
    }
}

struct Served {
    database: Database,
    store: Option<Postgres>,
}

impl Served {
    async fn new() -> Self {
        let database = cluster().database();
        let store = Some(Self::leading(&database).await);
        Self { database, store }
    }

    async fn leading(database: &Database) -> Postgres {
        let store = Postgres::open(&database.address()).await.unwrap();
        assert!(store.lead(std::time::Duration::from_secs(3_600), None).await.unwrap().is_ours);
        store
    }
}

#[async_trait]
impl Subject for Served {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }

    async fn reopen(&mut self) {
        self.store.take().unwrap().close().await;
        self.store = Some(Self::leading(&self.database).await);
    }

    async fn problems(&mut self) -> Vec<String> {
        postgres::audit(&self.database.address()).await.unwrap()
    }
}

fn check(steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run(steps, &mut Embedded::new()));
}

fn check_served(steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { run(steps, &mut Served::new().await).await });
}

fn task() -> impl Strategy<Value = TaskStep> {
    let delay = prop_oneof![3 => Just(0i16), 1 => 1i16..600, 1 => -100i16..0];
    let payload = prop_oneof![4 => 0u16..20, 1 => 2_000u16..3_000];
    (any::<u8>(), any::<u8>(), any::<u8>(), delay, 0u8..4, 0u8..8, payload).prop_map(
        |(code, cluster, priority, delay_s, retries, label, payload_bytes)| TaskStep {
            code,
            cluster: if cluster < 200 { 0 } else { 1 },
            priority,
            delay_s,
            retries,
            label,
            payload_bytes,
        },
    )
}

fn ending() -> impl Strategy<Value = (u8, Ending, bool)> {
    let ending = prop_oneof![
        4 => Just(Ending::Succeeds),
        4 => Just(Ending::Fails),
        1 => Just(Ending::TimesOut),
        1 => Just(Ending::Dies),
        1 => Just(Ending::OutOfMemory),
        1 => Just(Ending::NotStarted),
    ];
    (any::<u8>(), ending, any::<bool>())
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    use proptest::collection::vec;
    let clock = prop_oneof![4 => 0i32..70_000, 1 => -30_000i32..0, 1 => 0i32..7_200_000];
    let tasks = prop_oneof![
        6 => vec(task(), 12..40).prop_map(Step::Enqueue),
        2 => vec(task(), 0..5).prop_map(Step::Enqueue),
        1 => (0u8..6, vec(task(), 0..4)).prop_map(|(k, t)| Step::EnqueueOnce(k, t)),
        3 => Just(Step::Promote),
        12 => (any::<u8>(), 0u8..2, 0u8..9).prop_map(|(r, c, w)| Step::Claim(r, c, w)),
        10 => vec(ending(), 0..6).prop_map(Step::Finish),
        1 => any::<u8>().prop_map(Step::FinishLost),
        3 => (any::<u8>(), 0u8..6, 0u8..6).prop_map(|(a, f, c)| Step::Append(a, f, c)),
        3 => (any::<u8>(), any::<Option<u8>>(), any::<bool>()).prop_map(|(t, p, m)| Step::Progress(t, p.map(|p| p % 101), m)),
        3 => vec(any::<u8>(), 0..4).prop_map(Step::Cancel),
        1 => Just(Step::Settle),
    ];
    let runners = prop_oneof![
        2 => (0u8..3, 0u8..2, 0u8..4).prop_map(|(i, c, l)| Step::Register(i, c, l)),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(r, f)| Step::Heartbeat(r, f)),
        2 => (any::<u8>(), any::<u8>(), prop::bool::weighted(0.2)).prop_map(|(r, a, l)| Step::Release(r, a, l)),
        2 => Just(Step::Rescue),
        1 => (any::<u8>(), prop::bool::weighted(0.3)).prop_map(|(r, d)| Step::Drain(r, d)),
    ];
    let rest = prop_oneof![
        3 => (any::<u8>(), any::<u8>(), 0u8..4).prop_map(|(p, n, l)| Step::Upload(p, n, l)),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(c, p)| Step::Pause(c, p)),
        1 => any::<u8>().prop_map(Step::DeleteCode),
        1 => (any::<u8>(), 0u8..4).prop_map(|(p, l)| Step::Demand(p, l)),
        1 => any::<u8>().prop_map(Step::Token),
        1 => any::<u8>().prop_map(Step::Cluster),
        1 => any::<u8>().prop_map(Step::Secret),
        5 => (0u8..3, 0u8..4, 0u8..4, 0u8..3).prop_map(|(c, e, t, l)| Step::Schedule(c, e, t, l)),
        3 => (any::<u8>(), prop::bool::weighted(0.3)).prop_map(|(a, o)| Step::Replace(a, o)),
        2 => any::<bool>().prop_map(Step::Fire),
        2 => (0u8..3).prop_map(Step::Prune),
        1 => (0u8..3).prop_map(Step::WaitDays),
        2 => Just(Step::Reopen),
    ];
    prop_oneof![6 => tasks, 2 => runners, 3 => rest, 2 => clock.prop_map(Step::Wait)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn whatever_happens_it_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..100)) {
        check(&steps);
    }
}

proptest! {
    // Each statement is a call to another process here: fewer sequences take as long.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn whatever_happens_to_a_server_it_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..100)) {
        check_served(&steps);
    }
}
