//! Breaks a cluster at random, and proves from what happened that it kept its promises.
//!
//! `tests/chaos/run --seconds 300 --seed 7` runs it; CONTRIBUTING.md says how to read what it prints.
//!
//! | module | holds |
//! |---|---|
//! | [`service`] | a PostgreSQL, three servers, three runners, and a way between each two that can be cut |
//! | [`producer`] | queues and cancels, and writes down what was acknowledged |
//! | [`faults`] | what is broken and how it is healed, in an order that follows from the seed |
//! | [`history`] | what happened, kept as JSON lines |
//! | [`look`] | what database and workers say in the end, as a part of it |
//! | [`checker`] | which promises a history breaks: pure |
//! | [`report`] | how long the rate was down after each fault: pure |

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and tell")]

mod checker;
mod database;
mod faults;
mod history;
mod look;
mod process;
mod producer;
#[path = "../it/proxy.rs"]
mod proxy;
mod random;
mod report;
mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::checker::Violation;
use crate::faults::Fault;
use crate::history::{Event, History, now};
use crate::random::Random;
use crate::service::{SERVERS, Service};

/// How long the service runs undisturbed before the first fault, for its usual rate.
const LEAD_IN: Duration = Duration::from_secs(8);
/// How long it may take until everything has ended, when nothing is broken any more.
const SETTLE: Duration = Duration::from_secs(90);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number is given"))
}

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

#[test]
#[ignore = "takes minutes: tests/chaos/run"]
fn promises_are_kept_whatever_breaks() {
    let seconds = number("CHAOS_SECONDS").unwrap_or(30);
    let seed = number("CHAOS_SEED").unwrap_or_else(|| now().unsigned_abs() % 1_000_000);
    let rate = number("CHAOS_RATE").unwrap_or(20);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
    std::fs::create_dir_all(&folder).unwrap();
    let history = History::in_file(&folder.join("history.jsonl"));
    println!("seed {seed}, {seconds} s, {rate} tasks/s; history: {}", history.path().display());

    let mut service = Service::start();
    let journal = service.home().join("journal");
    run(&mut service, &history, &journal, (seconds, seed, rate));
    service.end();
    service.keep_logs(&folder);
    look::journal(&journal, &history);
    look::database(&service.database, &history);
    judge(&history.events(), &folder);
}

/// Judges a history that was kept: what a changed checker says of it.
#[test]
#[ignore = "needs the folder of a run: tests/chaos/run --check FOLDER"]
fn a_kept_history_is_judged_again() {
    let folder = PathBuf::from(std::env::var("CHAOS_CHECK").expect("a folder is given"));
    judge(&history::read(&folder.join("history.jsonl")), &folder);
}

fn judge(history: &[Event], folder: &Path) {
    let (rate, recoveries) = report::recoveries(history);
    println!("{}", report::table(rate, &recoveries));
    let count = |is_so: fn(&Event) -> bool| history.iter().filter(|event| is_so(event)).count();
    println!(
        "{} requests acknowledged, {} in doubt, {} cancels; {} tasks, {} that ended, {} further attempts; {} schedules",
        count(|event| matches!(event, Event::Queued { .. })),
        count(|event| matches!(event, Event::Doubtful { .. })),
        count(|event| matches!(event, Event::Cancelled { .. })),
        count(|event| matches!(event, Event::Task { .. })),
        count(|event| matches!(event, Event::Ended { .. })),
        count(|event| matches!(event, Event::Attempt { .. })),
        count(|event| matches!(event, Event::Scheduled { .. })),
    );
    let violations = checker::check(history);
    let shown: Vec<&Violation> = violations.iter().take(20).collect();
    assert!(
        violations.is_empty(),
        "{} promises broken, see {}: {shown:#?}",
        violations.len(),
        folder.display()
    );
}

fn run(service: &mut Service, history: &History, journal: &Path, (seconds, seed, rate): (u64, u64, u64)) {
    let mut random = Random::new(seed);
    let worker = producer::worker(journal);
    service.upload("quick", &worker, &["--retries", "1"]);
    service.upload("few", &worker, &["--max-concurrency", "3"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(producer::schedule(&service.client(0), history, seconds, &mut random));
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..SERVERS).map(|n| service.client(n)).collect();
    let every = Duration::from_millis(2_000 / rate.max(1));
    history.add(Event::Began { at: now(), seed });
    let work = producer::produce(clients, history.clone(), every, Random::new(seed ^ 1), stop.clone());
    let work = runtime.spawn(work);
    std::thread::sleep(LEAD_IN);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        disturb(service, history, &mut random);
    }
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(work).expect("the producer saw nothing that cannot be");
    history.add(Event::Calm { at: now() });
    let calm = Instant::now();
    while !look::is_idle(&service.database) && calm.elapsed() < SETTLE {
        pause(100);
    }
    println!("idle {:.1} s after the last request", calm.elapsed().as_secs_f64());
}

/// Breaks one thing or two, leaves them so for a while, and waits for a while after they are mended.
fn disturb(service: &mut Service, history: &History, random: &mut Random) {
    let mut faults = vec![Fault::any(random)];
    if random.once_in(4) {
        let second = Fault::any(random);
        faults.extend(faults[0].goes_with(second).then_some(second));
    }
    let what = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(", and ");
    println!("{what}");
    history.add(Event::Fault { at: now(), what });
    let held: Vec<_> = faults.iter().flat_map(|fault| fault.begin(service)).collect();
    // At times longer than a lease.
    let longest = if random.once_in(3) { 9_000 } else { 3_000 };
    pause(random.ms(300, longest));
    drop(held);
    faults.sort_by_key(|fault| fault.rank());
    for fault in faults {
        fault.heal(service);
    }
    history.add(Event::Healed { at: now() });
    pause(random.ms(3_000, 9_000));
}
