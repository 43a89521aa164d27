//! What the pages cost: their server time and size with many tasks in the store, and what two hundred open ones take of
//! a processor while fifty tasks a second run.
//!
//! `cargo run --release -p windlass-server --example hud [DIR] [TASKS]`: the store is kept in `DIR`, in a folder that is
//! removed if there is none, and filled up to `TASKS`, a million by default.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod http;
mod pages;
mod seed;
mod viewers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use windlass_model::project::Scope;
use windlass_server::{App, Clock, Config, Seal, serve};
use windlass_store::Store;
use windlass_store::blob::Blobs;
use windlass_store::sqlite::{Options, Sqlite};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let first = args.next();
    if first.as_deref() == Some(viewers::ARGUMENT) {
        return viewers::look(&args.collect::<Vec<_>>());
    }
    let scratch = tempfile::tempdir()?;
    let dir = first.map_or_else(|| scratch.path().to_owned(), Into::into);
    let tasks = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&dir, tasks))
}

async fn run(dir: &Path, tasks: usize) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(dir, Options::default())?);
    let seeded = seed::fill(&*store, tasks).await?;
    let blobs = Blobs::local(&dir.join("blobs"))?;
    let config = Config { scratch: dir.to_owned(), ..Config::default() };
    let seal = Seal::open(&*store, &[7; 32], false).await?;
    let app = App::open(store, blobs, Clock::System, config, seal).await?;
    let (token, _) = app.create_token(None, &[Scope::Admin], "bench", None).await?;
    let (runner, _) = app.create_token(None, &[Scope::Runner], "runner", None).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, None, app, async {
        // Also when it is dropped.
        let _ = stopped.await;
    }));
    let server_is = async {
        pages::measure(address, &token, &seeded).await?;
        for viewers in [0, 200] {
            viewers::measure(address, &token, &runner, &seeded, viewers, Duration::from_secs(20)).await?;
        }
        Ok::<(), Failure>(())
    };
    let outcome = server_is.await;
    let _ = stop.send(());
    server.await?;
    outcome
}

/// Processor time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // Clock ticks are a hundredth of a second on every Linux that Rust runs on.
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}
