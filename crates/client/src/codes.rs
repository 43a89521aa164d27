//! Code packages.

use bytes::Bytes;
use http::Method;
use windlass_model::id::CodeId;
use windlass_model::wire::Msg;
use windlass_model::wire::codes::{
    Code, CodeList, RevisionList, RevisionView, Stats, UploadRequest, Uploaded,
};

use crate::multipart::{self, OnProgress};
use crate::query::Query;
use crate::{Client, ClientError};

/// A page of a list: `page` from 0, at most 100 rows each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// Which page; 0 is the first.
    pub page: u32,
    /// Rows on a page; the server's default if not given.
    pub per_page: Option<u32>,
}

/// What an upload carries beside its options.
#[derive(Clone, Debug, Default)]
pub struct Uploads {
    /// The package.
    pub zip: Option<Bytes>,
    /// The archive of a container image.
    pub image_archive: Option<Bytes>,
}

impl Paging {
    pub(crate) fn query(self) -> Query {
        let page = (self.page > 0).then_some(self.page);
        Query::default().with_some("page", page).with_some("per_page", self.per_page)
    }
}

impl Client {
    /// Makes a new package, or a new revision of the one with this name, and returns the package.
    ///
    /// Without a `zip`, an existing package keeps its last one. `on_progress` hears how many bytes of the request
    /// were sent.
    pub async fn upload(
        &self,
        request: &UploadRequest,
        zip: Option<Bytes>,
        on_progress: Option<OnProgress>,
    ) -> Result<Code, ClientError> {
        self.upload_with(request, Uploads { zip, image_archive: None }, on_progress).await
    }

    /// The same with the archive of a container image, if there is one: an OCI layout or what `docker save` writes, as a
    /// tar that is not compressed.
    pub async fn upload_with(
        &self,
        request: &UploadRequest,
        files: Uploads,
        on_progress: Option<OnProgress>,
    ) -> Result<Code, ClientError> {
        let path = self.in_project("codes");
        let data = serde_json::to_string(request).map_err(|e| self.unexpected(&path, e.to_string()))?;
        let (content_type, body) = multipart::form(&data, files, on_progress);
        let answer: Uploaded = self.answer(Method::POST, &path, Some((&content_type, body))).await?;
        Ok(answer.code)
    }

    /// The packages of the project, newest change first.
    pub async fn codes(&self, paging: Paging) -> Result<Vec<Code>, ClientError> {
        let list: CodeList = self.get(&paging.query().on(&self.in_project("codes"))).await?;
        Ok(list.codes)
    }

    /// The package.
    pub async fn code(&self, id: CodeId) -> Result<Code, ClientError> {
        self.get(&self.in_project(&format!("codes/{id}"))).await
    }

    /// The package with this name; `None` if the project has none.
    pub async fn code_named(&self, name: &str) -> Result<Option<Code>, ClientError> {
        let mut page = 0;
        loop {
            let codes = self.codes(Paging { page, per_page: Some(100) }).await?;
            let is_last = codes.len() < 100;
            if let Some(code) = codes.into_iter().find(|c| c.name == name) {
                return Ok(Some(code));
            }
            if is_last {
                return Ok(None);
            }
            page += 1;
        }
    }

    /// The revisions of the package, first first.
    pub async fn revisions(&self, id: CodeId, paging: Paging) -> Result<Vec<RevisionView>, ClientError> {
        let path = self.in_project(&format!("codes/{id}/revisions"));
        let list: RevisionList = self.get(&paging.query().on(&path)).await?;
        Ok(list.revisions)
    }

    /// Makes a new revision like the earlier one `rev`, and returns the package.
    pub async fn roll_back(&self, id: CodeId, rev: u32) -> Result<Code, ClientError> {
        let path =
            Query::default().with("revision", rev).on(&self.in_project(&format!("codes/{id}/rollback")));
        let answer: Uploaded = self.json(Method::POST, &path, None::<&()>).await?;
        Ok(answer.code)
    }

    /// The zip of revision `rev`, of the newest one if none is named.
    pub async fn download(&self, id: CodeId, rev: Option<u32>) -> Result<Bytes, ClientError> {
        let path = self.in_project(&format!("codes/{id}/download"));
        let path = Query::default().with_some("revision", rev).on(&path);
        let answer = self.send(Method::GET, &path, None).await?;
        self.collect(answer).await
    }

    /// How many tasks of the package wait, run, and ended within the last day.
    pub async fn code_stats(&self, id: CodeId) -> Result<Stats, ClientError> {
        self.get(&self.in_project(&format!("codes/{id}/stats"))).await
    }

    /// Keeps the package's queued tasks from starting. Returns the server's words: `Paused` or `Already paused`.
    pub async fn pause(&self, id: CodeId) -> Result<String, ClientError> {
        self.command(&format!("codes/{id}/pause_task_queue")).await
    }

    /// Lets the package's queued tasks start again. Returns the server's words: `Resumed` or `Already resumed`.
    pub async fn resume(&self, id: CodeId) -> Result<String, ClientError> {
        self.command(&format!("codes/{id}/resume_task_queue")).await
    }

    /// Cancels every task of the package that has not ended.
    pub async fn cancel_all(&self, id: CodeId) -> Result<(), ClientError> {
        self.command(&format!("codes/{id}/cancel_all")).await.map(drop)
    }

    /// Deletes the package: its queued tasks are cancelled and its schedules end; running tasks go on.
    pub async fn delete_code(&self, id: CodeId) -> Result<(), ClientError> {
        let path = self.in_project(&format!("codes/{id}"));
        self.json::<Msg>(Method::DELETE, &path, None::<&()>).await.map(drop)
    }
}
