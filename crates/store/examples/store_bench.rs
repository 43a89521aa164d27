//! Rates of the embedded store, next to a loop of fdatasync on the same disk, empty and with a million queued and a
//! million finished tasks: `cargo run --release -p windlass-store --example store_bench [DIR] [MILLIONS]`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use windlass_model::code::{BlobRef, Upload};
use windlass_model::exit::{Exit, Outcome, Usage, Verdict};
use windlass_model::id::{CodeId, ProjectId, RevisionId, RunnerId, Seq, SeqClock, TaskId};
use windlass_model::isolation::Level;
use windlass_model::project::Project;
use windlass_model::retry::RetryPolicy;
use windlass_model::runner::{Held, Isolation, Register, RunnerRecord};
use windlass_model::task::{NewTask, Priority, Status};
use windlass_model::time::Timestamp;
use windlass_model::wire::codes::UploadOrder;
use windlass_store::Store;
use windlass_store::sqlite::{Options, Sqlite};
use windlass_store::types::{Claiming, Finish, Retention, Statuses, TaskQuery};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

const PAYLOAD_BYTES: usize = 300;
const CODES: usize = 20;
/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let scratch = tempfile::tempdir()?;
    let dir = args.next().map_or_else(|| scratch.path().to_owned(), Into::into);
    let millions = match args.next() {
        Some(text) => text.to_string_lossy().parse()?,
        None => 1.0,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&dir, millions))
}

async fn run(dir: &Path, millions: f64) -> Result<()> {
    fdatasync(dir)?;
    let bench = Arc::new(Bench::open(&dir.join("data")).await?);
    println!("empty store");
    bench.rates().await?;
    let rows = (millions * 1e6) as usize;
    println!("with {rows} queued and {rows} finished");
    bench.fill(rows).await?;
    bench.rates().await?;
    bench.queries().await?;
    let at = Instant::now();
    let pruned = bench.store.prune(Retention::default(), now()).await?;
    println!("  {:<26} {:>9.1} ms for {} tasks", "drop a day", ms(at.elapsed()), pruned.tasks);
    bench.store.close().await;
    drop(bench);
    let at = Instant::now();
    let store = Sqlite::open(&dir.join("data"), Options::default())?;
    println!("  {:<26} {:>9.1} ms", "open again", ms(at.elapsed()));
    store.close().await;
    Ok(())
}

fn fdatasync(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut file = File::create(dir.join("fdatasync"))?;
    let mut times = Vec::new();
    for _ in 0..500 {
        let at = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(at.elapsed());
    }
    times.sort();
    println!("fdatasync of 4 KiB appended: p50 {:.2} ms, p99 {:.2} ms", ms(times[250]), ms(times[495]));
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(0))
}

/// Processor time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // Clock ticks are a hundredth of a second on every Linux that Rust runs on.
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0);
    pages * 4096.0 / 1e6
}

struct Bench {
    store: Arc<Sqlite>,
    clock: Arc<Mutex<SeqClock>>,
    project: ProjectId,
    codes: Arc<Vec<CodeId>>,
    runner: RunnerId,
}

impl Bench {
    async fn open(dir: &Path) -> Result<Self> {
        let store = Sqlite::open(dir, Options::default())?;
        let mut clock = SeqClock::after(store.newest_seq().await?);
        let project = ProjectId::new(clock.next(now()), 0);
        let (name, min_isolation) = ("bench".to_owned(), Level::default());
        store
            .create_project(Project {
                id: project,
                name,
                created_at: now(),
                min_isolation,
                registries: std::collections::BTreeMap::new(),
            })
            .await?;
        let mut codes = Vec::new();
        for n in 0..CODES {
            let upload = Upload {
                code: CodeId::new(clock.next(now()), 0),
                revision: RevisionId::new(clock.next(now()), 0),
                project,
                package: Some((BlobRef { sha256: "0".repeat(64), size_bytes: 1 }, String::new())),
                from: None,
                order: UploadOrder {
                    name: format!("code-{n}"),
                    max_concurrency: (n == 1).then_some(Some(50)),
                    ..UploadOrder::default()
                },
                at: now(),
            };
            codes.push(store.upload(upload).await?.id);
        }
        store.set_paused(codes[0], true, now()).await?;
        let runner = RunnerId::new(clock.next(now()), 0);
        let about = Register {
            name: "bench".to_owned(),
            instance: "bench".to_owned(),
            cluster: "default".to_owned(),
            slots: 1_000,
            labels: Vec::new(),
            version: String::new(),
            isolation: Isolation { level: "none".to_owned(), missing: Vec::new() },
        };
        let (started_at, seen_at) = (now(), now());
        let record =
            RunnerRecord { id: runner, about, started_at, seen_at, is_draining: false, gone_at: None };
        store.register_runner(record, now() + Duration::from_secs(86_400)).await?;
        let clock = Arc::new(Mutex::new(clock));
        Ok(Self { store: Arc::new(store), clock, project, codes: Arc::new(codes), runner })
    }

    /// Every twentieth waits for a paused package.
    fn tasks(&self, count: usize) -> Vec<NewTask> {
        self.tasks_of(now(), &mut self.clock.lock(), &self.codes, count)
    }

    fn tasks_of(&self, at: Timestamp, clock: &mut SeqClock, codes: &[CodeId], count: usize) -> Vec<NewTask> {
        let task = |n: usize| {
            let seq = clock.next(at);
            let code = codes[(n + seq.0 as usize) % codes.len()];
            NewTask {
                id: TaskId::new(seq, seq.0 as u32),
                project: self.project,
                code,
                rev: 1,
                priority: Priority::new((n % 3) as i64).unwrap_or_default(),
                created_at: at,
                run_at: at,
                timeout_s: 3_600,
                retry: RetryPolicy::default(),
                cluster: "default".to_owned(),
                label: None,
                schedule: None,
                parent: None,
                retry_of: None,
                trace: None,
                payload: vec![b'p'; PAYLOAD_BYTES],
            }
        };
        (0..count).map(task).collect()
    }

    /// Claims up to `want` tasks and finishes them. How many there were.
    async fn cycle(&self, want: usize) -> Result<usize> {
        let claiming = Claiming { runner: self.runner, cluster: "default".to_owned(), want };
        let claimed = self.store.claim(claiming, now()).await?;
        let held: Vec<Held> = claimed.iter().map(|c| Held { task: c.task.id, fence: c.fence }).collect();
        self.store.leased(&held).await?;
        let finish = |held: Held| Finish {
            held,
            outcome: Outcome::Exited(Exit::Code(0)),
            msg: String::new(),
            usage: Some(Usage { wall_ms: 12, user_us: 3_000, system_us: 1_000, peak_memory_bytes: 1 << 20 }),
            isolation: Some(Isolation { level: "none".to_owned(), missing: Vec::new() }),
            verdict: Verdict::Final { status: Status::Complete, msg: None, error_class: None },
            log: None,
            log_size_bytes: 0,
            result: None,
        };
        if !held.is_empty() {
            self.store.finish_if_leased(held.into_iter().map(finish).collect(), now()).await?;
        }
        Ok(claimed.len())
    }

    /// What is measured and figures of it.
    async fn rates(self: &Arc<Self>) -> Result<()> {
        self.rate("enqueue 64 x 1", 64, Step::Enqueue(1)).await?;
        self.rate("enqueue 4 x 1000", 4, Step::Enqueue(1_000)).await?;
        self.latency("idle enqueue", Step::Enqueue(1)).await?;
        for want in [1, 16, 128] {
            self.rate(&format!("claim+finish 16 x {want}"), 16, Step::Cycle(want)).await?;
        }
        self.latency("idle enqueue+claim+finish", Step::Both).await?;
        println!("  {:<26} {:>9.1} MB", "resident", resident_mb());
        Ok(())
    }

    async fn step(&self, step: Step) -> Result<usize> {
        match step {
            Step::Enqueue(count) => {
                self.store.enqueue(self.tasks(count)).await?;
                Ok(count)
            }
            Step::Cycle(want) => self.cycle(want).await,
            Step::Both => {
                self.store.enqueue(self.tasks(1)).await?;
                self.cycle(1).await
            }
        }
    }

    /// How many things `workers` do each second.
    async fn rate(self: &Arc<Self>, name: &str, workers: usize, step: Step) -> Result<()> {
        let done = Arc::new(AtomicUsize::new(0));
        let (start, cpu_before) = (Instant::now(), cpu());
        let work = |_| {
            let (bench, done) = (self.clone(), done.clone());
            tokio::spawn(async move {
                while start.elapsed() < SPAN {
                    let did = bench.step(step).await?;
                    if did == 0 {
                        break;
                    }
                    done.fetch_add(did, Ordering::Relaxed);
                }
                Ok::<(), Failure>(())
            })
        };
        for worker in (0..workers).map(work).collect::<Vec<_>>() {
            worker.await??;
        }
        let (time, used) = (start.elapsed(), cpu() - cpu_before);
        let done = done.load(Ordering::Relaxed) as f64;
        let (rate, each) = (done / time.as_secs_f64(), used.as_secs_f64() * 1e6 / done.max(1.0));
        println!("  {name:<26} {rate:>9.0} /s   {each:>6.1} us of processor each");
        Ok(())
    }

    /// How long one thing takes when nothing else goes on.
    async fn latency(&self, name: &str, step: Step) -> Result<()> {
        let mut times = Vec::new();
        for _ in 0..500 {
            let at = Instant::now();
            self.step(step).await?;
            times.push(at.elapsed());
        }
        times.sort();
        println!("  {name:<26} p50 {:.2} ms, p99 {:.2} ms", ms(times[250]), ms(times[495]));
        Ok(())
    }

    /// Until there are `rows` finished, of a day long ago, and then `rows` queued.
    async fn fill(&self, rows: usize) -> Result<()> {
        let total = |counts: &[windlass_store::types::LaneCounts], status| {
            counts.iter().map(|lane| lane.counts.get(status) as usize).sum::<usize>()
        };
        let counts = self.store.counts(None).await?;
        let finished = total(&counts, Status::Complete);
        let long_ago = now() - Duration::from_secs(40 * 86_400);
        let mut clock = SeqClock::after(Seq::at(long_ago));
        for _ in (finished..rows).step_by(20_000) {
            let tasks = self.tasks_of(long_ago, &mut clock, &self.codes[2..], 20_000);
            self.store.enqueue(tasks).await?;
            while self.cycle(5_000).await? > 0 {}
        }
        let counts = self.store.counts(None).await?;
        for _ in (total(&counts, Status::Queued)..rows).step_by(10_000) {
            self.store.enqueue(self.tasks(10_000)).await?;
        }
        Ok(())
    }

    /// How long reads take.
    async fn queries(&self) -> Result<()> {
        let all = TaskQuery::of(self.project, 30);
        let of_code = TaskQuery { code: Some(self.codes[2]), ..all.clone() };
        let statuses = |status| Statuses::NONE.with(status);
        let queries = [
            ("newest 30", all.clone()),
            ("newest 30 of a package", of_code.clone()),
            ("complete ones of it", TaskQuery { statuses: statuses(Status::Complete), ..of_code.clone() }),
            ("queued ones", TaskQuery { statuses: statuses(Status::Queued), ..all.clone() }),
            ("page 100 of 100", TaskQuery { skip: 10_000, limit: 100, ..all }),
        ];
        for (name, query) in queries {
            let mut times = Vec::new();
            for _ in 0..50 {
                let at = Instant::now();
                self.store.tasks(&query).await?;
                times.push(at.elapsed());
            }
            times.sort();
            println!("  {name:<26} p50 {:.2} ms, max {:.2} ms", ms(times[25]), ms(times[49]));
        }
        Ok(())
    }
}

/// What is measured.
#[derive(Clone, Copy)]
enum Step {
    Enqueue(usize),
    Cycle(usize),
    Both,
}
