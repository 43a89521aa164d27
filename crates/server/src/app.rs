//! What every request shares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use windlass_model::id::{ProjectId, RunnerId, TokenId};
use windlass_model::isolation::Level;
use windlass_model::limits::Policy;
use windlass_model::project::{Project, Scope, TokenRecord};
use windlass_model::secret::Sealed;
use windlass_model::time::Timestamp;
use windlass_store::blob::Blobs;
use windlass_store::types::Lead;
use windlass_store::{Store, StoreError};

use crate::answers::Answers;
use crate::attempt_token::AttemptKey;
use crate::clock::Clock;
use crate::clusters::Clusters;
use crate::config::Config;
use crate::hud::Hud;
use crate::ids::Ids;
use crate::metrics::Metrics;
use crate::seal::Seal;
use crate::sessions::{Session, Sessions};
use crate::tokens::{self, Token, Tokens};

/// Unit of the budget for bodies in memory.
pub(crate) const BODY_UNIT: usize = 64 * 1024;

/// The server, without a socket: shared by every request and every loop.
pub struct App {
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// Packages, long logs, large results.
    pub blobs: Blobs,
    /// What time it is.
    pub clock: Clock,
    /// The settings.
    pub config: Config,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when the server begins to stop: whoever waits answers at once.
    pub stopping: CancellationToken,
    /// Cancelled when no request is left: the loops end.
    pub loops_end: CancellationToken,
    /// The tokens.
    pub tokens: Tokens,
    /// Which server leads, as far as this one knows.
    pub lead: watch::Sender<Lead>,
    /// The runners' sessions.
    pub sessions: Sessions,
    /// The clusters of runners.
    pub clusters: Clusters,
    /// What secrets are sealed with.
    pub seal: Seal,
    /// When this server began.
    pub(crate) opened_at: Timestamp,
    pub(crate) ids: Ids,
    pub(crate) attempt_key: AttemptKey,
    pub(crate) hud: Hud,
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) answers: Answers,
    projects: RwLock<BTreeMap<ProjectId, Arc<Project>>>,
    /// When tokens and projects were last read, if another server may change them.
    read_at: Option<Mutex<Instant>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("config", &self.config).finish_non_exhaustive()
    }
}

impl App {
    /// A server on `store`, whose seal this is. Reads from it what is kept in memory: tokens, projects, runner sessions.
    pub async fn open(
        store: Arc<dyn Store>,
        blobs: Blobs,
        clock: Clock,
        config: Config,
        seal: Seal,
    ) -> Result<Arc<App>, StoreError> {
        let key = store.secret("attempt-tokens", crate::ids::secret()).await?;
        let hud_key = store.secret("hud-sessions", crate::ids::secret()).await?;
        let projects = store.projects().await?;
        let app = App {
            ids: Ids::of_node(store.node(), store.newest_seq().await?),
            tokens: Tokens::new(store.tokens().await?),
            lead: watch::Sender::new(match store.node() {
                None => Lead::alone(),
                Some(_) => Lead::default(),
            }),
            sessions: Sessions::default(),
            clusters: Clusters::new(store.clusters().await?),
            seal,
            metrics: Metrics::new(),
            opened_at: clock.now(),
            stopping: CancellationToken::new(),
            loops_end: CancellationToken::new(),
            attempt_key: AttemptKey::new(&key),
            hud: Hud::new(&hud_key),
            bodies: Arc::new(Semaphore::new((config.http.bodies_bytes / BODY_UNIT).max(1))),
            answers: Answers::new(config.http.answers_bytes),
            projects: RwLock::new(projects.into_iter().map(|p| (p.id, Arc::new(p))).collect()),
            read_at: store.node().map(|_| Mutex::new(Instant::now())),
            store,
            blobs,
            clock,
            config,
        };
        for (record, _) in app.store.runners().await? {
            if record.gone_at.is_none() {
                app.sessions.insert(&record);
            }
        }
        Ok(Arc::new(app))
    }

    /// What the settings say of what attempts may take.
    pub fn policy(&self) -> &Policy {
        &self.config.limits.attempts
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The project.
    pub fn project(&self, id: ProjectId) -> Option<Arc<Project>> {
        self.projects.read().get(&id).cloned()
    }

    /// Reads tokens and projects again, if another server may have changed them: what was made there is known here at
    /// once, what was revoked there is good here for two seconds. `missed`: something was not found.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if they cannot be read; what was known is known on.
    pub async fn catch_up(&self, missed: bool) -> Result<(), StoreError> {
        const TRUSTED: Duration = Duration::from_secs(2);
        /// Whoever asks for what is not there makes us read no more often than this.
        const AT_MOST: Duration = Duration::from_millis(100);
        let Some(read_at) = &self.read_at else { return Ok(()) };
        {
            let mut read_at = read_at.lock();
            if read_at.elapsed() < if missed { AT_MOST } else { TRUSTED } {
                return Ok(());
            }
            *read_at = Instant::now();
        }
        let since = self.now() - TRUSTED;
        self.tokens.replace(self.store.tokens().await?, since);
        let kept = self.store.projects().await?;
        let mut projects = self.projects.write();
        projects.retain(|_, project| project.created_at > since);
        projects.extend(kept.into_iter().map(|project| (project.id, Arc::new(project))));
        Ok(())
    }

    /// Every project, oldest first.
    pub fn projects(&self) -> Vec<Arc<Project>> {
        self.projects.read().values().cloned().collect()
    }

    /// Makes a project. It is kept when this returns `Ok`.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] if there are too many already.
    pub async fn create_project(&self, name: &str) -> Result<Arc<Project>, StoreError> {
        self.check_count("projects", self.projects.read().len())?;
        let now = self.now();
        let (seq, tag) = self.ids.mint(now);
        let (id, name) = (ProjectId::new(seq, tag), name.to_owned());
        let project = Project {
            id,
            name,
            created_at: now,
            min_isolation: Level::default(),
            registries: BTreeMap::new(),
        };
        self.store.create_project(project.clone()).await?;
        let project = Arc::new(project);
        self.projects.write().insert(project.id, project.clone());
        Ok(project)
    }

    /// Sets the weakest isolation that the project's tasks may run in. `None`: there is no such project.
    pub async fn set_min_isolation(
        &self,
        id: ProjectId,
        level: Level,
    ) -> Result<Option<Arc<Project>>, StoreError> {
        if !self.store.set_min_isolation(id, level).await? {
            return Ok(None);
        }
        let mut projects = self.projects.write();
        let Some(project) = projects.get_mut(&id) else { return Ok(None) };
        *project = Arc::new(Project { min_isolation: level, ..(**project).clone() });
        Ok(Some(project.clone()))
    }

    /// Sets or takes away the project's login to a registry of images. `None`: there is no such project.
    pub async fn set_registry(
        &self,
        id: ProjectId,
        registry: &str,
        login: Option<Sealed>,
    ) -> Result<Option<()>, StoreError> {
        if !self.store.set_registry(id, registry, login.clone()).await? {
            return Ok(None);
        }
        let mut projects = self.projects.write();
        let Some(project) = projects.get_mut(&id) else { return Ok(None) };
        let mut changed = (**project).clone();
        changed.set_registry(registry, login);
        *project = Arc::new(changed);
        Ok(Some(()))
    }

    pub(crate) fn check_count(&self, what: &str, count: usize) -> Result<(), StoreError> {
        let most = self.config.accounts;
        if count < most {
            return Ok(());
        }
        Err(StoreError::LimitReached(format!("there may be {most} {what}, and there are as many")))
    }

    /// Makes a token and returns its text, which is kept nowhere. Without a `project` it is good in every one.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] if there are too many already: some are to be revoked first.
    pub async fn create_token(
        &self,
        project: Option<ProjectId>,
        scopes: &[Scope],
        name: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<(String, TokenRecord), StoreError> {
        self.check_count("tokens", self.tokens.count())?;
        let now = self.now();
        let (seq, tag) = self.ids.mint(now);
        let id = TokenId::new(seq, tag);
        let text = tokens::fresh();
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        let record = TokenRecord {
            id,
            hash: tokens::hash(&text),
            project,
            cluster: None,
            scopes,
            name: name.to_owned(),
            created_at: now,
            expires_at,
            last_used_at: None,
        };
        self.store.create_token(record.clone()).await?;
        self.tokens.insert(record.clone());
        Ok((text, record))
    }

    /// Revokes a token: no request with it is let in from now on. One that is not there is none already.
    pub async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError> {
        self.store.revoke_token(id).await?;
        self.tokens.remove(id);
        Ok(())
    }

    /// Notes that a token is used; the store hears of it now and then.
    pub(crate) fn note_use(self: &Arc<Self>, token: &Token) {
        let now = self.now();
        if token.note_use(now) {
            let (app, id) = (self.clone(), token.record.id);
            tokio::spawn(async move {
                if let Err(e) = app.store.note_tokens_used(vec![(id, now)]).await {
                    tracing::warn!(error = %e, "the use of token {id} was not noted");
                }
            });
        }
    }

    /// Whether the token with this id is still good.
    pub(crate) fn is_good(&self, token: TokenId) -> bool {
        self.tokens.by_id(token).is_some_and(|token| !token.record.is_expired(self.now()))
    }

    /// The runner's session.
    ///
    /// # Errors
    /// [`StoreError::SessionOver`] if there is none that lives.
    pub(crate) async fn session(&self, runner: RunnerId) -> Result<Arc<Session>, StoreError> {
        if let Some(session) = self.sessions.get(runner) {
            return Ok(session);
        }
        // It may have registered with another server on the same store.
        let records = self.store.runners().await?;
        let live = records.iter().find(|(r, _)| r.id == runner && r.gone_at.is_none());
        live.map(|(record, _)| self.sessions.insert(record)).ok_or(StoreError::SessionOver)
    }
}
