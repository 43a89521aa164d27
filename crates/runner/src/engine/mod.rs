//! Tasks of images that a container engine runs: Docker or Podman, by the API that both have, on a Unix socket.
//!
//! For hosts where an engine is wanted: its images, its storage, its rules. Without one, images run in the sandbox.
//!
//! | module | holds |
//! |---|---|
//! | [`address`] | where an engine is |
//! | [`call`] | one call: a request over its socket, and the answer |
//! | [`api`] | the calls that are made, and what of their answers matters |
//! | [`container`] | what a container may do: the order for it, and how its end is judged; pure |
//! | [`stream`] | its output, taken apart; pure |
//! | [`images`] | archives of images, handed to the engine once and without the names that they claim |
//! | [`room`] | the folders that a container may write to, no larger than the task's disk |
//! | [`follow`] | a container from its start to its end |
//! | [`attempt`](attempt()) | the way of an attempt |

mod address;
mod api;
mod attempt;
mod call;
mod container;
mod follow;
mod images;
mod room;
mod stream;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::geteuid;
use tracing::{info, warn};
use windlass_model::isolation::{Isolation, Level};
use windlass_model::limits::Network;

use crate::package::Packages;
use api::Api;
use container::User;
use images::Images;

pub use address::{EngineAddress, NoEngineAddress};
pub(crate) use attempt::attempt;

/// The engine of a runner, and what the runner has in it.
pub(crate) struct Engine {
    api: Api,
    /// The value of the label that this runner's containers have, and nobody else's.
    owner: String,
    /// Where the folders of containers are.
    rooms: PathBuf,
    /// Certificates that tasks need for the API.
    ca: Option<PathBuf>,
    user: User,
    has_init: bool,
    level: Level,
    is_capped: bool,
    images: Images,
    /// Containers that could not be removed when they had to be.
    strays: Mutex<Vec<String>>,
}

impl Engine {
    /// Asks the engine what it is, and removes what a runner that crashed left in it. `first_uid` is the user of tasks if
    /// the runner is root. An error says why it cannot be used.
    pub(crate) async fn open(
        address: &EngineAddress,
        work_dir: &Path,
        (first_uid, ca): (u32, Option<PathBuf>),
        packages: Arc<Packages>,
    ) -> io::Result<Self> {
        let api = Api::new(address.clone());
        let about = api.about().await.map_err(io::Error::other)?;
        let is_root = geteuid().is_root();
        if about.is_rootless() && is_root {
            return Err(io::Error::other(format!(
                "the engine at {address} runs as a user without privileges, and the runner as root: both must be one user"
            )));
        }
        let rooms = work_dir.canonicalize()?.join("engine");
        let engine = Self {
            owner: owner(&work_dir.join("engine-owner"))?,
            ca,
            user: User::of(is_root, about.is_rootless(), first_uid),
            has_init: about.has_init(),
            level: about.level(),
            is_capped: room::is_capped(&rooms)?,
            images: Images::new(packages),
            strays: Mutex::default(),
            rooms,
            api,
        };
        let left = engine.api.owned(&engine.owner).await.map_err(io::Error::other)?;
        for id in &left {
            engine.api.remove(id).await.map_err(io::Error::other)?;
        }
        if !left.is_empty() {
            warn!("removed {} containers that a runner before this one left in the engine", left.len());
        }
        room::sweep(&engine.rooms)?;
        info!("images run by {} at {address}", about.name());
        Ok(engine)
    }

    /// How far this engine separates tasks.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// How a task with this network is separated from the host and from others, and what is missing.
    fn isolation(&self, network: Network) -> Isolation {
        let mut missing = Vec::new();
        match network {
            Network::None => {}
            Network::Egress => missing.push(
                "network: a container on the engine's bridge reaches this host, other containers and private networks, \
                 too"
                .to_owned(),
            ),
            Network::Host => {
                missing.push("network: a task reaches whatever the host reaches, its loopback too".to_owned());
            }
        }
        if !self.is_capped {
            missing.push("limits: what a task writes to files is not limited".to_owned());
        }
        if self.level < Level::CgroupsV1 {
            missing.push("limits: as far as the engine may set them without privileges".to_owned());
        }
        if self.user.is_runners() {
            missing.push("user: tasks run as the user of the runner".to_owned());
        }
        Isolation::new(self.level, missing)
    }

    /// Removes what could not be removed before. As long as that fails, nothing new is begun.
    async fn clear_strays(&self) -> Result<(), call::CallError> {
        loop {
            let Some(id) = self.strays().last().cloned() else { return Ok(()) };
            self.api.remove(&id).await?;
            self.strays().retain(|stray| *stray != id);
        }
    }

    fn strays(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an engine is, or why it cannot be used: for `doctor`.
pub(crate) async fn probe(address: &EngineAddress) -> Result<String, String> {
    let about = Api::new(address.clone()).about().await.map_err(|e| e.to_string())?;
    Ok(format!("engine: {} at {address}, isolation `{}`", about.name(), about.level()))
}

/// A name that no other runner has, kept in a file of the work directory, which has one runner at a time.
fn owner(file: &Path) -> io::Result<String> {
    if let Ok(kept) = fs::read_to_string(file)
        && !kept.trim().is_empty()
    {
        return Ok(kept.trim().to_owned());
    }
    let fresh = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
    fs::write(file, &fresh)?;
    Ok(fresh)
}
