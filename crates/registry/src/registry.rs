//! The calls: manifests and blobs, retried and checked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{ACCEPT, AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use windlass_model::image::documents::Named;
use windlass_model::image::reference::Reference;
use windlass_model::image::{Descriptor, Digest, MAX_DOCUMENT, MAX_LAYERS, Manifest, Platform, archive};
use windlass_model::runner::Login;

use crate::challenge::Challenge;
use crate::error::PullError;

/// What is taken as a manifest.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Times that something is tried which may pass, and the time before the next, doubled each time.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Longest time that a registry may ask us to wait; for longer the task is not kept.
const PATIENCE: Duration = Duration::from_secs(20);

/// Redirects that are followed: to where a registry keeps its blobs.
const MAX_REDIRECTS: usize = 5;

/// How registries are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Registries, `host:port`, that are called by HTTP. All others are by HTTPS.
    pub plain_http: Vec<String>,
    /// How long a registry may be silent.
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { plain_http: Vec::new(), silence: Duration::from_secs(30) }
    }
}

/// Calls registries.
#[derive(Clone, Debug)]
pub struct Registry {
    client: reqwest::Client,
    plain_http: Arc<[String]>,
}

/// One image at its registry, with what it wanted to be shown so far.
struct Session<'a> {
    registry: &'a Registry,
    image: &'a Reference,
    login: Option<&'a Login>,
    shown: Option<String>,
}

impl Registry {
    /// One that calls by `settings`.
    ///
    /// # Errors
    /// In words, if this host can do no TLS.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(rustls::ConfigBuilder::with_platform_verifier)
            .map_err(|e| e.to_string())?
            .with_no_client_auth();
        let plain_http: Arc<[String]> = settings.plain_http.clone().into();
        let plain = plain_http.clone();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.silence)
            .read_timeout(settings.silence)
            .redirect(reqwest::redirect::Policy::custom(move |attempt| {
                if attempt.previous().len() > MAX_REDIRECTS {
                    attempt.error("too many redirects")
                } else if may_call(&plain, attempt.url().as_str()) {
                    attempt.follow()
                } else {
                    attempt.error("a redirect to where HTTPS is not spoken")
                }
            }))
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { client, plain_http })
    }

    /// Whether a registry may send us there.
    fn may_call(&self, url: &str) -> bool {
        may_call(&self.plain_http, url)
    }

    /// The digest of what `image` names now: of one image, or of a list of images for several machines.
    pub async fn resolve(&self, image: &Reference, login: Option<&Login>) -> Result<Digest, PullError> {
        let mut session = Session { registry: self, image, login, shown: None };
        session.manifest(image.version()).await.map(|(digest, _)| digest)
    }

    /// Pulls `image` for `wanted` into the folder `into`, as an OCI layout. After `Ok` everything in it is what its
    /// digest says; layers together have `limit_bytes` at most.
    ///
    /// All layers are pulled, also those that are here already from elsewhere: that somebody can name a layer is no
    /// proof that he may have it.
    pub async fn pull(
        &self,
        image: &Reference,
        login: Option<&Login>,
        wanted: &Platform,
        into: &Path,
        limit_bytes: u64,
    ) -> Result<(), PullError> {
        let mut session = Session { registry: self, image, login, shown: None };
        let (mut digest, mut bytes) = session.manifest(image.version()).await?;
        let mut named = Named::parse(&bytes).map_err(|why| session.refused(why))?;
        if let Named::Index(index) = &named {
            let chosen = index.choose(wanted).map_err(|why| session.refused(why))?.clone();
            (digest, bytes) = session.manifest(chosen.digest.as_str()).await?;
            named = Named::parse(&bytes).map_err(|why| session.refused(why))?;
        }
        let Named::Manifest(manifest) = named else {
            return Err(session.refused("its index leads to another where an image should be".to_owned()));
        };
        session.check(&manifest, limit_bytes)?;
        let io = |e: std::io::Error| PullError::Io(e.to_string());
        tokio::fs::create_dir_all(into.join("blobs/sha256")).await.map_err(io)?;
        tokio::fs::write(into.join(archive::blob_path(&digest)), &bytes).await.map_err(io)?;
        session.blob(&manifest.config, into).await?;
        let mut seen = Vec::new();
        for layer in &manifest.layers {
            if !seen.contains(&&layer.digest) {
                session.blob(layer, into).await?;
                seen.push(&layer.digest);
            }
        }
        let index =
            format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{digest}","size":{}}}]}}"#, bytes.len());
        tokio::fs::write(into.join("index.json"), index).await.map_err(io)
    }
}

impl Session<'_> {
    /// Whether the image is of a size that is taken, as far as it says.
    fn check(&self, manifest: &Manifest, limit_bytes: u64) -> Result<(), PullError> {
        if manifest.layers.len() > MAX_LAYERS {
            return Err(self
                .refused(format!("it has {} layers, and {MAX_LAYERS} is the limit", manifest.layers.len())));
        }
        if manifest.config.size > MAX_DOCUMENT {
            return Err(self.refused("its configuration is too large".to_owned()));
        }
        let total = manifest.layers.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
        if total > limit_bytes {
            return Err(self.refused(format!(
                "its layers have {} MiB, and {} MiB is the limit",
                total >> 20,
                limit_bytes >> 20
            )));
        }
        Ok(())
    }

    /// The manifest that `version` names, and its digest.
    async fn manifest(&mut self, version: &str) -> Result<(Digest, Vec<u8>), PullError> {
        let mut tries = Tries::default();
        loop {
            let read = match self.get(&format!("manifests/{version}"), MANIFESTS).await {
                Ok(answer) => self.small(answer).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(bytes) => {
                    let own = digest(&Sha256::digest(&bytes));
                    if version.parse().is_ok_and(|said: Digest| said != own) {
                        return Err(self.refused(format!("{version} is something else than its digest says")));
                    }
                    return Ok((own, bytes));
                }
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// Pulls one blob into the layout `into`.
    async fn blob(&mut self, blob: &Descriptor, into: &Path) -> Result<(), PullError> {
        let path = into.join(archive::blob_path(&blob.digest));
        let mut tries = Tries::default();
        loop {
            match self.blob_once(blob, &path).await {
                Err(error) => tries.again(error).await?,
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn blob_once(&mut self, blob: &Descriptor, path: &Path) -> Result<(), PullError> {
        let io = |e: std::io::Error| PullError::Io(e.to_string());
        let mut answer = self.get(&format!("blobs/{}", blob.digest), "*/*").await?;
        let mut file = tokio::fs::File::create(path).await.map_err(io)?;
        let (mut hash, mut size) = (Sha256::new(), 0u64);
        while let Some(piece) = answer.chunk().await.map_err(|e| self.broken(&e))? {
            size += piece.len() as u64;
            if size > blob.size {
                return Err(self.refused(format!("{} is longer than the image says", blob.digest)));
            }
            hash.update(&piece);
            file.write_all(&piece).await.map_err(io)?;
        }
        file.flush().await.map_err(io)?;
        if size < blob.size {
            return Err(
                self.passing(format!("{} ended after {size} of {} bytes", blob.digest, blob.size), None)
            );
        }
        match digest(&hash.finalize()) == blob.digest {
            true => Ok(()),
            false => Err(self.refused(format!("{} is something else than its digest says", blob.digest))),
        }
    }

    async fn small(&self, mut answer: Response) -> Result<Vec<u8>, PullError> {
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| self.broken(&e))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > MAX_DOCUMENT {
                return Err(self.refused(format!("an answer is longer than {} MiB", MAX_DOCUMENT >> 20)));
            }
        }
        Ok(bytes)
    }

    /// Gets something of the image's repository, showing who we are if the registry wants to know.
    async fn get(&mut self, what: &str, accept: &str) -> Result<Response, PullError> {
        let host = self.image.host();
        let is_plain = self.registry.plain_http.iter().any(|plain| plain == host);
        let scheme = if is_plain { "http" } else { "https" };
        let url = format!("{scheme}://{host}/v2/{}/{what}", self.image.repository);
        let mut answer = self.ask(&url, accept).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let header = answer.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
            let challenge = header.and_then(Challenge::parse);
            self.shown = Some(self.authorization(challenge).await?);
            answer = self.ask(&url, accept).await?;
        }
        self.good(answer)
    }

    async fn ask(&self, url: &str, accept: &str) -> Result<Response, PullError> {
        let mut call = self.registry.client.get(url).header(ACCEPT, accept);
        if let Some(shown) = &self.shown {
            call = call.header(AUTHORIZATION, shown);
        }
        call.send().await.map_err(|e| self.broken(&e))
    }

    /// What to show a registry that asks for this.
    async fn authorization(&self, challenge: Option<Challenge>) -> Result<String, PullError> {
        /// Either, and some give both.
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let basic = self.login.map(|login| {
            format!("Basic {}", BASE64.encode(format!("{}:{}", login.username, login.password)))
        });
        match challenge {
            None => Err(self
                .refused("its registry wants to know who asks, in a way that is not known here".to_owned())),
            Some(Challenge::Basic) => basic.ok_or_else(|| self.denied()),
            Some(Challenge::Bearer { realm, query }) => {
                if !self.registry.may_call(&realm) {
                    return Err(
                        self.refused("its registry wants a token from where HTTPS is not spoken".to_owned())
                    );
                }
                let mut call = self.registry.client.get(&realm).query(&query);
                if let Some(basic) = basic {
                    call = call.header(AUTHORIZATION, basic);
                }
                let answer = call.send().await.map_err(|e| self.broken(&e))?;
                let bytes = self.small(self.good(answer)?).await?;
                let token = serde_json::from_slice(&bytes)
                    .ok()
                    .and_then(|Token { token, access_token }| token.or(access_token));
                token
                    .map(|token| format!("Bearer {token}"))
                    .ok_or_else(|| self.refused("its registry gives no token".to_owned()))
            }
        }
    }

    /// The answer, if it is one.
    fn good(&self, answer: Response) -> Result<Response, PullError> {
        let registry = &self.image.registry;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied()),
            StatusCode::NOT_FOUND => Err(self.refused(format!("{registry} has no such image"))),
            StatusCode::TOO_MANY_REQUESTS => {
                let header = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let after = header.and_then(|text| text.parse().ok()).map(Duration::from_secs);
                let wait =
                    after.map_or(String::new(), |after| format!(", try again after {} s", after.as_secs()));
                Err(self.passing(format!("{registry} has answered too often (429){wait}"), after))
            }
            status if status.is_server_error() => {
                Err(self.passing(format!("{registry} answers {status}"), None))
            }
            status => Err(self.refused(format!("{registry} answers {status}"))),
        }
    }

    fn denied(&self) -> PullError {
        let registry = &self.image.registry;
        self.refused(match self.login {
            None => format!(
                "{registry} asks for a login: give the project one (POST credentials), or check the name"
            ),
            Some(login) => format!("{registry} refuses the login of `{}`", login.username),
        })
    }

    fn broken(&self, error: &reqwest::Error) -> PullError {
        let registry = &self.image.registry;
        let why = if error.is_timeout() {
            format!("{registry} does not answer in time")
        } else if error.is_connect() {
            format!("{registry} cannot be reached")
        } else if error.is_body() || error.is_decode() {
            format!("{registry} broke off in the middle")
        } else {
            // The texts below say more than the first, which is where it was called.
            let mut cause: &dyn std::error::Error = error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            format!("{registry}: {cause}")
        };
        self.passing(why, None)
    }

    fn refused(&self, why: String) -> PullError {
        PullError::Refused { image: self.image.to_string(), why }
    }

    fn passing(&self, why: String, after: Option<Duration>) -> PullError {
        PullError::Unavailable { image: self.image.to_string(), why, after }
    }
}

/// Counts what was tried.
#[derive(Default)]
struct Tries(u32);

impl Tries {
    /// Waits before something is tried again, unless it is not to be.
    async fn again(&mut self, error: PullError) -> Result<(), PullError> {
        self.0 += 1;
        let PullError::Unavailable { after, .. } = &error else { return Err(error) };
        let pause = after.unwrap_or(PAUSE * 2u32.pow(self.0 - 1));
        if self.0 >= TRIES || pause > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Whether a registry may send us to this URL: only by HTTPS, unless it is a registry of plain HTTP.
fn may_call(plain_http: &[String], url: &str) -> bool {
    match url.split_once("://") {
        Some(("https", _)) => true,
        Some(("http", rest)) => plain_http.iter().any(|plain| rest.split('/').next() == Some(plain)),
        _ => false,
    }
}

fn digest(hash: &[u8]) -> Digest {
    Digest::of_hex(&hex::encode(hash)).expect("a hash is a digest")
}
