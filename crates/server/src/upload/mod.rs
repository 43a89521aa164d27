//! Code packages on their way in: multipart or plain JSON; the zip goes to a file, never whole into memory.

pub mod archive;
pub mod literal;
pub mod multipart;
pub mod package;
pub mod single;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use axum::extract::Request;
use http::{StatusCode, header};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use windlass_model::code::BlobRef;
use windlass_model::wire::codes::UploadRequest;
use windlass_store::blob::Area;

use self::literal::Unescape;
use self::multipart::Multipart;
use crate::app::App;
use crate::body::{self, Patience};
use crate::error::ApiError;
use crate::query::Query;

/// Zips that are checked at once: it is work for a processor, and others have work, too.
static CHECKS: Semaphore = Semaphore::const_new(2);

/// Largest `data` part.
const DATA_BYTES: usize = 2 * 1024 * 1024;

/// What a request to upload brought.
#[derive(Debug)]
pub struct Received {
    /// The options.
    pub request: UploadRequest,
    /// Its files.
    pub files: Files,
}

/// The files of an upload, not yet checked.
#[derive(Debug, Default)]
pub struct Files {
    /// The package.
    pub zip: Option<Zip>,
    /// The archive of a container image.
    pub image: Option<Zip>,
}

/// A zip, or an archive, in a file that nobody else can see and that is gone when this is dropped.
#[derive(Debug)]
pub struct Zip {
    file: File,
    /// Its hash and length.
    pub blob: BlobRef,
    /// Its MD5 in hexadecimal.
    pub md5: String,
}

/// What a form of a page with a file brought.
#[derive(Debug)]
pub struct FileForm {
    /// The other fields.
    pub fields: Query,
    /// The name of the file, if it is one for a file in a package.
    pub file_name: String,
    /// Whether the file was a program and no zip: the zip is made of it.
    pub is_single: bool,
    /// The zip, not yet checked.
    pub zip: Option<Zip>,
}

/// Reads a form with the field `file`: a zip, or a program of one file.
pub async fn receive_form(app: &App, request: Request) -> Result<FileForm, ApiError> {
    let mut parts = open(app, request)?;
    let received = form_parts(app, &mut parts).await;
    body::linger(parts.into_body());
    let mut form = received?;
    if let Some(zip) = form.zip.take() {
        let (zip, is_single) = zip.or_wrapped(app, &form.file_name).await?;
        (form.zip, form.is_single) = (Some(zip), is_single);
    }
    Ok(form)
}

async fn form_parts(app: &App, parts: &mut Multipart) -> Result<FileForm, ApiError> {
    let mut form =
        FileForm { fields: Query::default(), file_name: String::new(), is_single: false, zip: None };
    let mut left = DATA_BYTES;
    while let Some(name) = parts.next_part().await? {
        if name == "file" {
            form.file_name = single::plain_name(parts.file_name()).to_owned();
            form.zip = save(app, parts, "file").await?;
            continue;
        }
        let value = small(parts, left).await?;
        left -= value.len();
        form.fields.add(&name, String::from_utf8_lossy(&value).trim());
    }
    Ok(form)
}

/// The parts of a multipart request.
fn open(app: &App, request: Request) -> Result<Multipart, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let boundary = multipart::boundary(content_type.unwrap_or_default())
        .ok_or_else(|| ApiError::bad_request("the Content-Type names no usable multipart boundary"))?;
    let http = &app.config.http;
    let patience = Patience::new(http.idle_timeout, http.upload_timeout);
    Ok(Multipart::new(request.into_body(), &boundary, patience))
}

/// Reads an upload as any of the clients sends it.
pub async fn receive(app: &App, request: Request) -> Result<Received, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let is_multipart = |t: &str| t.to_ascii_lowercase().trim_start().starts_with("multipart/");
    if !content_type.is_some_and(is_multipart) {
        let (parts, body) = request.into_parts();
        let raw = body::read(app, &parts.headers, body, DATA_BYTES).await?;
        return Ok(Received { request: body::parse(&raw.bytes)?, files: Files::default() });
    }
    let mut parts = open(app, request)?;
    let received = receive_parts(app, &mut parts).await;
    body::linger(parts.into_body());
    received
}

async fn receive_parts(app: &App, parts: &mut Multipart) -> Result<Received, ApiError> {
    let (mut data, mut zip, mut image) = (None, None, None);
    while let Some(name) = parts.next_part().await? {
        match name.as_str() {
            "data" => data = Some(small(parts, DATA_BYTES).await?),
            "file" => zip = save(app, parts, "file").await?,
            "image_archive" => image = save(app, parts, "image_archive").await?,
            // Some clients add fields of their own.
            _ => {}
        }
    }
    let data =
        data.ok_or_else(|| ApiError::bad_request("data: is required, a part with the options as JSON"))?;
    let request = body::parse(&data).map_err(|e| ApiError::new(e.status, format!("data: {}", e.msg)))?;
    Ok(Received { request, files: Files { zip, image } })
}

async fn small(parts: &mut Multipart, most: usize) -> Result<Vec<u8>, ApiError> {
    let mut whole = Vec::new();
    while let Some(piece) = parts.chunk().await? {
        whole.extend_from_slice(&piece);
        if whole.len() > most {
            let msg = format!("data: is larger than the limit of {DATA_BYTES} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, msg));
        }
    }
    Ok(whole)
}

/// Saves the part as a file; `None` if it is empty, as clients send it that have no zip.
async fn save(app: &App, parts: &mut Multipart, name: &str) -> Result<Option<Zip>, ApiError> {
    let limit = app.config.packages.zip_bytes;
    let unwritable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::StorageFull => ApiError::busy("no space is left on the disk for uploads"),
        _ => ApiError::internal(&format!(
            "an upload cannot be written to {}: {e}",
            app.config.scratch.display()
        )),
    };
    let file = tempfile::tempfile_in(&app.config.scratch).map_err(unwritable)?;
    let mut out = tokio::fs::File::from_std(file.try_clone().map_err(unwritable)?);
    let (mut sha256, mut md5, mut size) = (Sha256::new(), Md5::new(), 0u64);
    let mut unescape = Unescape::default();
    let mut is_last = false;
    while !is_last {
        let piece = match parts.chunk().await? {
            Some(piece) => unescape.feed(&piece),
            None => {
                is_last = true;
                unescape.end()
            }
        };
        let piece = piece.map_err(|e| ApiError::bad_request(format!("{name}: {e}")))?;
        size += piece.len() as u64;
        if size > limit {
            let msg = match name {
                "file" => format!("file: the zip is larger than the limit of {limit} bytes"),
                _ => format!(
                    "{name}: is larger than the limit of {limit} bytes, which the setting packages.size raises"
                ),
            };
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, msg));
        }
        sha256.update(&piece);
        md5.update(&piece);
        out.write_all(&piece).await.map_err(unwritable)?;
    }
    out.flush().await.map_err(unwritable)?;
    let blob = BlobRef { sha256: hex::encode(sha256.finalize()), size_bytes: size };
    Ok((size > 0).then(|| Zip { file, blob, md5: hex::encode(md5.finalize()) }))
}

impl Zip {
    /// Itself; or, if it is no zip but a program called `name`, one that is made of it. Says which.
    async fn or_wrapped(self, app: &App, name: &str) -> Result<(Zip, bool), ApiError> {
        let (name, folder) = (name.to_owned(), app.config.scratch.clone());
        let wrapped = tokio::task::spawn_blocking(move || {
            let mut zip = self;
            if name.is_empty() || single::is_zip(&mut zip.file)? {
                return Ok((zip, false));
            }
            Ok((Zip::of(single::wrap(zip.file, &name, &folder)?)?, true))
        });
        let wrapped = wrapped.await.map_err(|e| ApiError::internal(&format!("making a zip failed: {e}")))?;
        wrapped
            .map_err(|e: std::io::Error| ApiError::internal(&format!("an upload cannot be made a zip: {e}")))
    }

    fn of(mut file: File) -> std::io::Result<Self> {
        let (mut sha256, mut md5, mut size_bytes) = (Sha256::new(), Md5::new(), 0);
        let mut piece = vec![0; 64 * 1024];
        file.seek(SeekFrom::Start(0))?;
        loop {
            let n = file.read(&mut piece)?;
            if n == 0 {
                break;
            }
            sha256.update(&piece[..n]);
            md5.update(&piece[..n]);
            size_bytes += n as u64;
        }
        let blob = BlobRef { sha256: hex::encode(sha256.finalize()), size_bytes };
        Ok(Self { file, blob, md5: hex::encode(md5.finalize()) })
    }

    /// Checks the zip and keeps it: afterwards it is a blob. `file_name`, if not empty, must be in it.
    pub async fn keep(self, app: &App, file_name: &str) -> Result<(BlobRef, String), ApiError> {
        let (limits, file_name, size) = (app.config.packages, file_name.to_owned(), self.blob.size_bytes);
        let md5 = self.md5.clone();
        let (blob, ()) =
            self.keep_if(app, move |file| package::check(file, size, &limits, &file_name)).await?;
        Ok((blob, md5))
    }

    /// Checks the archive of an image and keeps it: afterwards it is a blob. Returns what it is called, too.
    pub async fn keep_image(self, app: &App) -> Result<(BlobRef, archive::Named), ApiError> {
        self.keep_if(app, archive::check).await
    }

    async fn keep_if<T: Send + 'static>(
        self,
        app: &App,
        check: impl FnOnce(&File) -> Result<T, package::Refused> + Send + 'static,
    ) -> Result<(BlobRef, T), ApiError> {
        let Zip { mut file, blob, .. } = self;
        // Never closed, so it is never refused.
        let _turn = CHECKS.acquire().await;
        let checked = tokio::task::spawn_blocking(move || {
            file.seek(SeekFrom::Start(0)).map_err(|e| package::Refused::unreadable(&e))?;
            let found = check(&file)?;
            file.seek(SeekFrom::Start(0)).map_err(|e| package::Refused::unreadable(&e))?;
            Ok::<_, package::Refused>((file, found))
        });
        let (file, found) =
            checked.await.map_err(|e| ApiError::internal(&format!("checking an upload failed: {e}")))??;
        let mut file = tokio::fs::File::from_std(file);
        app.blobs.put_stream(Area::Packages, &blob, &mut file).await?;
        Ok((blob, found))
    }
}

impl From<package::Refused> for ApiError {
    fn from(refused: package::Refused) -> Self {
        let status = match refused.is_too_large {
            true => StatusCode::PAYLOAD_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        };
        ApiError::new(status, format!("{}: {}", refused.field, refused.why))
    }
}
