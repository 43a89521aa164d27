//! A process that writes is killed at random points: what it said was kept is there, and the database is whole.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windlass_model::bytes::Bytes;
use windlass_model::exit::{Again, Exit, Verdict};
use windlass_model::id::TaskId;
use windlass_model::log::{LogChunk, Stream};
use windlass_model::runner::{AttemptLog, Held};
use windlass_model::task::Status;
use windlass_model::usage::{ComputeTime, Grain, UsageBy};
use windlass_store::Store;
use windlass_store::sqlite::{Options, Sqlite, audit};
use windlass_store::types::{Counts, Finished, TaskQuery};
use windlass_store::usage::Rollup;

use crate::world::{World, dir_of_child, ending, now, spawn, success};

/// Rounds in a run of the tests; `WINDLASS_KILL_ROUNDS` overrides it.
const ROUNDS: u64 = 25;

#[test]
fn nothing_that_was_acknowledged_is_missing_after_kill_9() {
    let rounds = std::env::var("WINDLASS_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    for round in 0..rounds {
        // Early rounds die while the tables are made; later ones in the midst of work.
        let life = Duration::from_micros((round * 7_919_333) % 150_000);
        let mut new = Told::default();
        new.take(&live_and_die(dir.path(), life));
        check(dir.path(), &new, round);
        told.add(new);
    }
    // What a round left, the rounds after it have left alone.
    check(dir.path(), &told, rounds);
    sums_are_of_every_attempt(dir.path());
    assert!(told.queued.len() > 100 && told.ended.len() > 100, "the process did not get far");
}

/// What the process said was kept.
#[derive(Default)]
struct Told {
    queued: HashSet<TaskId>,
    ended: HashSet<TaskId>,
    attempts: HashMap<TaskId, u32>,
}

impl Told {
    fn take(&mut self, lines: &[String]) {
        for line in lines {
            let mut words = line.split(' ');
            match words.next() {
                Some("queued") => self.queued.extend(words.map(|id| id.parse::<TaskId>().unwrap())),
                Some("ended") => self.ended.extend(words.map(|id| id.parse::<TaskId>().unwrap())),
                Some("again") => {
                    for id in words {
                        *self.attempts.entry(id.parse().unwrap()).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, new: Told) {
        self.queued.extend(new.queued);
        self.ended.extend(new.ended);
        for (task, ended) in new.attempts {
            *self.attempts.entry(task).or_default() += ended;
        }
    }
}

/// Starts the process, kills it after `life`; the whole lines that it wrote.
fn live_and_die(dir: &Path, life: Duration) -> Vec<String> {
    let mut child = spawn("kill::the_process_that_is_killed", dir);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        let mut line = String::new();
        // A last line without its end was not acknowledged.
        while output.read_line(&mut line).is_ok_and(|n| n > 0) && line.ends_with('\n') {
            lines.push(line.trim_end().to_owned());
            line.clear();
        }
        lines
    });
    let born = Instant::now();
    while born.elapsed() < life + Duration::from_millis(20) {
        std::thread::park_timeout(Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn check(dir: &Path, told: &Told, round: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Sqlite::open(dir, Options::default()).unwrap();
        for id in &told.queued {
            assert!(store.task(*id).await.unwrap().is_some(), "round {round}: task {id} is missing");
        }
        for id in &told.ended {
            let task = store.task(*id).await.unwrap().unwrap();
            assert_eq!(task.state.status, Status::Complete, "round {round}: the end of {id} is missing");
        }
        for (id, ended) in &told.attempts {
            let attempts = store.attempts(*id).await.unwrap().len();
            assert!(attempts >= *ended as usize, "round {round}: an attempt of {id} is missing");
        }
        store.close().await;
    });
    assert_eq!(audit(dir).unwrap(), Vec::<String>::new(), "round {round}");
}

/// Nothing is dropped here, so the sums must be exact.
fn sums_are_of_every_attempt(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Sqlite::open(dir, Options::default()).unwrap();
        let project = store.projects().await.unwrap()[0].id;
        let (mut attempts, mut ended) = (0, 0);
        for task in store.tasks(&TaskQuery::of(project, usize::MAX >> 1)).await.unwrap() {
            attempts += store.attempts(task.new.id).await.unwrap().len() as u64;
            ended += u64::from(task.state.status.is_final());
        }
        let (from, to) = (now() - Duration::from_secs(86_400), now());
        let mut sum = ComputeTime::default();
        for (_, used) in store.usage(project, from, to, UsageBy::Day).await.unwrap() {
            sum.add(&used);
        }
        assert_eq!(sum.attempts, attempts);
        let counts: Counts = store.counts(Some(project)).await.unwrap().iter().map(|l| &l.counts).sum();
        for grain in Grain::ALL {
            let rollups = store.rollups(project, None, from, to, grain).await.unwrap();
            let mut sum = Rollup::default();
            rollups.iter().for_each(|(_, _, rollup)| sum.add(rollup));
            assert_eq!((sum.ended.total(), sum.compute.attempts), (ended, attempts));
            assert_eq!(sum.queued, counts.get(Status::Queued) as i64);
        }
        store.close().await;
    });
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn the_process_that_is_killed() {
    let Some(dir) = dir_of_child() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Sqlite::open(&dir, Options::default()).unwrap());
        let world = Arc::new(tokio::sync::Mutex::new(World::new(&*store).await));
        for n in 0..4 {
            tokio::spawn(queue(store.clone(), world.clone(), n));
        }
        tokio::spawn(work(store.clone(), world.clone()));
        work(store, world).await;
    });
}

async fn queue(store: Arc<Sqlite>, world: Arc<tokio::sync::Mutex<World>>, n: usize) {
    for at in 0usize.. {
        let tasks = world.lock().await.tasks(1 + (at * 7 + n) % 20, if at % 9 == 0 { 3_000 } else { 100 });
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        store.enqueue(tasks).await.unwrap();
        say("queued", &ids);
    }
}

async fn work(store: Arc<Sqlite>, world: Arc<tokio::sync::Mutex<World>>) {
    let world = world.lock().await.clone();
    for at in 0usize.. {
        let claimed = world.claim(&*store, 1 + at % 16).await;
        if claimed.is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        let chunk = LogChunk { n: 1, stream: Stream::Stdout, at_ms: 0, data: Bytes(b"hello".to_vec()) };
        let log = |c: &windlass_store::types::Claimed| AttemptLog {
            held: Held { task: c.task.id, fence: c.fence },
            chunks: vec![chunk.clone()],
        };
        store.append_logs(claimed.iter().map(log).collect()).await.unwrap();
        let finish = |c: &windlass_store::types::Claimed| {
            if c.attempt == 1 && c.task.id.seq().0 % 5 == 0 {
                let again = Verdict::Again { run_at: now(), why: Again::Retry, msg: "again".to_owned() };
                ending(c.task.id, c.fence, Exit::Code(1), again)
            } else {
                success(c.task.id, c.fence)
            }
        };
        let finished = store.finish_if_leased(claimed.iter().map(finish).collect(), now()).await.unwrap();
        let of = |status| {
            let ended = claimed.iter().zip(&finished).filter(|(_, f)| **f == Finished::Now(status));
            ended.map(|(c, _)| c.task.id).collect::<Vec<_>>()
        };
        say("ended", &of(Status::Complete));
        say("again", &of(Status::Queued));
    }
}

/// One line to whoever started this process, whole or not at all.
fn say(what: &str, ids: &[TaskId]) {
    if !ids.is_empty() {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        std::io::stdout().write_all(format!("{what} {}\n", ids.join(" ")).as_bytes()).unwrap();
    }
}
