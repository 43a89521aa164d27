//! A runner from its start to its end: one session after another with a server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use windlass_client::{Client, RunnerSession};
use windlass_model::runner::{Isolation, Register, Registered};
use windlass_registry::Registry;

use crate::config::{ImageMode, RunnerConfig};
use crate::deaths::Deaths;
use crate::engine::Engine;
use crate::host::Host;
use crate::image::cache::Images;
use crate::instance::Instance;
use crate::logs::Logs;
use crate::package::Packages;
use crate::rest::Rest;
use crate::run::Bench;
use crate::session::{Session, Stopping};
use crate::slots::Slots;
use crate::spool::Spool;
use crate::unpack::apart::Unpacker;
use crate::warm;

/// Time before registering is tried again, doubled each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Longest time a server may take to register us before we try again, perhaps elsewhere.
const REGISTER_LIMIT: Duration = Duration::from_secs(10);

/// Why a runner cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its work directory is not usable, or somebody else's.
    #[error("the runner cannot start: {0}")]
    WorkDir(#[from] std::io::Error),
    /// Tasks cannot be isolated here.
    #[error("the runner cannot isolate tasks: {0}")]
    Sandbox(#[source] std::io::Error),
    /// Its container engine is not usable.
    #[error("the runner cannot use its engine: {0}")]
    Engine(#[source] std::io::Error),
    /// It must run at least one task at a time.
    #[error("the runner cannot start: it has no slots")]
    NoSlots,
}

/// A running runner. It goes on when this is dropped; [`Runner::shutdown`] ends it.
#[derive(Debug)]
pub struct Runner {
    stop: watch::Sender<Stopping>,
    slots: Arc<Slots>,
    drain: Duration,
    ended: oneshot::Receiver<()>,
}

impl Runner {
    /// Starts a runner that works for the server behind `client`, whose token must have the scope `runner`.
    ///
    /// After `Ok` it has its work directory for itself and tries to register for as long as it takes.
    ///
    /// It works on a thread and a runtime of its own, on which the client's transport is called: handing each of the
    /// many small steps of an attempt from one thread to another costs more than the steps do.
    pub fn start(config: RunnerConfig, client: Client) -> Result<Self, StartError> {
        if config.slots == 0 {
            return Err(StartError::NoSlots);
        }
        let instance = Instance::lock(&config.work_dir)?;
        let api_url = config.api_url.clone().unwrap_or_else(|| client.url().to_owned());
        let unpacker = Unpacker::new(&config.sandbox, &config.spawner);
        let packages = Packages::open(config.work_dir.join("packages"), config.packages, unpacker)?;
        let packages = Arc::new(packages);
        let registry = Registry::new(&config.registry).map_err(std::io::Error::other)?;
        let spool = Spool::open(&config.work_dir.join("spool"))?;
        let mut host = Host::open(&config, &api_url)?;
        let slots = Slots::new(config.slots);
        let (stop, stopping) = watch::channel(Stopping::No);
        let drain = config.drain;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel();
        let of_service = slots.clone();
        std::thread::Builder::new().name("runner".to_owned()).spawn(move || {
            let prepared = runtime.block_on(prepare(&mut host, &config, &packages));
            let (engine, answer) = match prepared {
                Ok(engine) => (Some(engine), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if answer.is_ok() {
                tell_isolation(&host.isolation);
            }
            // Whoever starts us waits for it.
            let _ = ready.send(answer);
            if let Some(engine) = engine {
                let host = Arc::new(host);
                let workers = warm::Pool::new(config.slots);
                let service = Service {
                    config,
                    client,
                    host,
                    packages,
                    registry,
                    workers,
                    engine,
                    spool,
                    instance,
                    slots: of_service,
                };
                runtime.block_on(service.run(stopping));
            }
            // What the transport left running, such as idle connections, is not waited for.
            runtime.shutdown_background();
            // Nobody waits any more if the handle was dropped.
            let _ = end.send(());
        })?;
        let at_once = |_| Err(StartError::Sandbox(std::io::Error::other("it ended at once")));
        is_ready.recv().unwrap_or_else(at_once)?;
        Ok(Self { stop, slots, drain, ended })
    }

    /// Tasks that run right now.
    pub fn busy(&self) -> usize {
        self.slots.taken().min(self.slots.total())
    }

    /// Takes no more tasks and lets those that run end, within the time that the settings allow; gives the rest back.
    /// Returns at once; [`Runner::wait`] tells when it has ended.
    pub fn shutdown(&self) {
        self.stop_by(Instant::now() + self.drain);
    }

    /// The same without waiting for those that run.
    pub fn shutdown_now(&self) {
        self.stop_by(Instant::now());
    }

    /// Waits until the runner has ended.
    pub async fn wait(self) {
        // An error is a panic in its thread, which was told where it happened.
        let _ = self.ended.await;
    }

    fn stop_by(&self, deadline: Instant) {
        self.stop.send_modify(|stopping| {
            *stopping = match *stopping {
                Stopping::By(sooner) if sooner < deadline => Stopping::By(sooner),
                _ => Stopping::By(deadline),
            }
        });
    }
}

/// Makes the sandboxes ready, and the engine, if there is one.
///
/// The level that the runner registers is one that all its tasks have, wherever they run.
async fn prepare(
    host: &mut Host,
    config: &RunnerConfig,
    packages: &Arc<Packages>,
) -> Result<Option<Arc<Engine>>, StartError> {
    host.prepare().await.map_err(StartError::Sandbox)?;
    let ImageMode::Engine(address) = &config.images else { return Ok(None) };
    let of_tasks = (config.sandbox.first_uid, config.api_ca.clone().map(Into::into));
    let engine = Engine::open(address, &config.work_dir, of_tasks, packages.clone());
    let engine = engine.await.map_err(StartError::Engine)?;
    if engine.level() < host.isolation.at_least() {
        host.isolation.level = engine.level().as_str().to_owned();
        host.isolation.missing.push(format!("images: the engine isolates them by {} only", engine.level()));
    }
    Ok(Some(Arc::new(engine)))
}

fn tell_isolation(isolation: &Isolation) {
    if isolation.missing.is_empty() {
        info!(isolation = %isolation.level, "tasks are isolated by {}", isolation.level);
        return;
    }
    let missing = isolation.missing.join("; ");
    warn!(isolation = %isolation.level, "tasks are isolated by {} only; missing: {missing}", isolation.level);
}

struct Service {
    config: RunnerConfig,
    client: Client,
    host: Arc<Host>,
    packages: Arc<Packages>,
    registry: Registry,
    workers: Arc<warm::Pool>,
    engine: Option<Arc<Engine>>,
    spool: Spool,
    instance: Instance,
    slots: Arc<Slots>,
}

impl Service {
    /// Keeps a session that takes tasks. Sessions that take no more end what they have beside it.
    async fn run(mut self, mut stopping: watch::Receiver<Stopping>) {
        let mut sessions = JoinSet::new();
        while let Some((session, registered)) = self.register(&mut stopping).await {
            let (lost, lost_attempts) = mpsc::unbounded_channel();
            let bench = Bench {
                host: self.host.clone(),
                packages: self.packages.clone(),
                workers: self.workers.clone(),
                images: Images::new(self.packages.clone(), Some(self.registry.clone())),
                engine: self.engine.clone(),
                client: self.client.clone(),
                logs: Logs::start(session.clone(), self.spool.clone(), lost),
                deaths: Deaths::default(),
                rest: Rest::default(),
            };
            let session =
                Session::new(session, &registered, Arc::new(bench), lost_attempts, self.slots.clone());
            let (close, mut closed) = watch::channel(false);
            sessions.spawn(session.run(stopping.clone(), close));
            // An error means that the session has ended, which is as good.
            let _ = closed.wait_for(|closed| *closed).await;
            while sessions.try_join_next().is_some() {}
            if !sessions.is_empty()
                && let Err(error) = self.instance.renew()
            {
                warn!("cannot name another session, waiting for the one before to end: {error}");
                while sessions.join_next().await.is_some() {}
            }
        }
        while sessions.join_next().await.is_some() {}
        info!("the runner has ended");
    }

    /// Registers, however long it takes; `None`: the runner was told to stop.
    async fn register(
        &self,
        stopping: &mut watch::Receiver<Stopping>,
    ) -> Option<(RunnerSession, Registered)> {
        let about = Register {
            name: self.config.name.clone(),
            instance: self.instance.id().to_owned(),
            cluster: self.config.cluster.clone(),
            slots: u32::try_from(self.config.slots).unwrap_or(u32::MAX),
            labels: self.config.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            isolation: self.host.isolation.clone(),
        };
        let mut pause = RETRY.0;
        loop {
            if *stopping.borrow_and_update() != Stopping::No {
                return None;
            }
            match timeout(REGISTER_LIMIT, self.client.register_runner(&about)).await {
                Ok(Ok((session, registered))) => {
                    let (slots, cluster) = (about.slots, &about.cluster);
                    info!(runner.id = %registered.runner, "runner {} takes tasks of cluster {cluster} into {slots} slots", about.name);
                    return Some((session, registered));
                }
                Ok(Err(error)) => warn!("cannot register: {error}"),
                Err(_) => warn!("cannot register: {} gave no answer", self.client.url()),
            }
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(RETRY.1),
                _ = stopping.changed() => {}
            }
        }
    }
}
