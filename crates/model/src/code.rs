//! Code packages and their revisions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{CodeId, ProjectId, RevisionId};
use crate::image::Digest;
use crate::limits::Wishes;
use crate::retry::RetryPolicy;
use crate::secret::{Given, Sealed};
use crate::task::Priority;
use crate::time::Timestamp;
use crate::warm::{KeepWishes, Mode};
use crate::wire::codes::UploadOrder;

/// A blob by the SHA-256 of its content, 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// SHA-256 of the content in hexadecimal.
    pub sha256: String,
    /// Length of the content.
    pub size_bytes: u64,
}

/// How a worker is started. An empty string means "not given", as clients send it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launch {
    /// Old-style interpreter name: `sh`, `ruby`, `python`, `php`, `node`, `perl`, `java`, `mono`, `go`, `binary`.
    pub runtime: String,
    /// The file in the package that the interpreter runs.
    pub file_name: String,
    /// A command line run by a shell in the unpacked package.
    pub command: String,
    /// A container image.
    pub image: String,
    /// Deprecated language stack; kept and shown, never used.
    pub stack: String,
    /// Whether its process runs one task or many.
    pub mode: Mode,
    /// What a warm worker calls for each task, such as `app.handler`.
    pub handler: String,
    /// The container image itself, as an archive that was uploaded; none: it is somewhere else, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<BlobRef>,
    /// What the image's name meant when it was uploaded; none: its registry did not say, so that each runner asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What runs a worker's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A process for each.
    Process,
    /// A container for each.
    Image,
    /// A process that takes one after another.
    Warm,
}

impl Launch {
    /// What runs its tasks.
    pub fn kind(&self) -> Kind {
        match self.mode {
            Mode::Warm => Kind::Warm,
            Mode::Process if self.image.is_empty() => Kind::Process,
            Mode::Process => Kind::Image,
        }
    }
}

/// One immutable revision of a code package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its id (IronWorker's "history id").
    pub id: RevisionId,
    /// The package it belongs to.
    pub code: CodeId,
    /// 1 for the first, one more for each upload.
    pub rev: u32,
    /// The uploaded zip; none for a bare image.
    pub package: Option<BlobRef>,
    /// MD5 of the zip in hexadecimal, which clients show as the checksum; empty without a zip.
    pub checksum: String,
    /// How it is started.
    pub launch: Launch,
    /// Given to the worker as a file; at most 64 KiB.
    pub config: Option<String>,
    /// Environment of the worker: the names, and the values as only a server can read them.
    pub env_vars: BTreeMap<String, Sealed>,
    /// Whether and when a failed task of it runs again.
    pub retry: RetryPolicy,
    /// Priority of its tasks where they name none.
    pub default_priority: Priority,
    /// What it asks for of what its attempts may take.
    #[serde(default)]
    pub wishes: Wishes,
    /// For how long its warm workers are to be kept.
    #[serde(default)]
    pub keep: KeepWishes,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// Interpreters by the ending of a program of one file.
const RUNTIMES: [(&str, &str); 7] = [
    ("sh", "sh"),
    ("py", "python"),
    ("js", "node"),
    ("rb", "ruby"),
    ("php", "php"),
    ("pl", "perl"),
    ("jar", "java"),
];

/// The interpreter of a program of one file, by its name; `binary` if its ending names none.
pub fn runtime_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    RUNTIMES.iter().find(|(known, _)| *known == ending).map_or("binary", |(_, runtime)| runtime)
}

/// A code package: what stays the same over its revisions, and the newest of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Its id.
    pub id: CodeId,
    /// Who owns it.
    pub project: ProjectId,
    /// Unique in the project among packages that are not deleted.
    pub name: String,
    /// Most tasks of it that may run at once; none: no limit.
    pub max_concurrency: Option<u32>,
    /// Whether its tasks are kept from starting.
    pub is_paused: bool,
    /// When it was first uploaded.
    pub created_at: Timestamp,
    /// When it was last changed in any way.
    pub updated_at: Timestamp,
    /// When it was deleted; a deleted package stays readable for the tasks it ran.
    pub deleted_at: Option<Timestamp>,
    /// The newest revision: the one that new tasks run.
    pub latest: Revision,
}

/// A checked upload, with the ids it gets if they are needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// Id of the package, if this is its first upload.
    pub code: CodeId,
    /// Id of the revision.
    pub revision: RevisionId,
    /// Who owns it.
    pub project: ProjectId,
    /// The zip and its MD5 in hexadecimal.
    pub package: Option<(BlobRef, String)>,
    /// An earlier revision of the package that this one goes on from; none: the newest.
    pub from: Option<Box<Revision>>,
    /// What the request says.
    pub order: UploadOrder<Sealed>,
    /// Now.
    pub at: Timestamp,
}

/// The first upload of a package has neither a zip nor an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Code package zip file required if no image specified")]
pub struct NothingToRun;

/// The package after `upload`: a first revision, or a new one that keeps what the upload leaves open, of the newest or
/// of the one that it goes on from.
pub fn revise(previous: Option<&Code>, upload: Upload) -> Result<Code, NothingToRun> {
    let Upload { order, package, at, from, .. } = upload;
    let old = from.as_deref().or_else(|| previous.map(|code| &code.latest));
    let (package, checksum) = match (package, old) {
        (Some((package, checksum)), _) => (Some(package), checksum),
        // A bare image replaces what was there; anything else goes on with the last zip.
        (None, Some(old)) if order.launch.as_ref().is_none_or(|l| l.image.is_empty()) => {
            (old.package.clone(), old.checksum.clone())
        }
        (None, _) => (None, String::new()),
    };
    let launch = order.launch.or_else(|| old.map(|o| o.launch.clone())).unwrap_or_default();
    if package.is_none() && launch.image.is_empty() {
        return Err(NothingToRun);
    }
    let retry = old.map(|o| o.retry).unwrap_or_default();
    let latest = Revision {
        id: upload.revision,
        code: previous.map_or(upload.code, |code| code.id),
        rev: previous.map_or(1, |code| code.latest.rev + 1),
        package,
        checksum,
        launch,
        config: order.config.or_else(|| old.and_then(|o| o.config.clone())).filter(|c| !c.is_empty()),
        env_vars: variables(order.env_vars, old),
        retry: RetryPolicy {
            retries: order.retries.unwrap_or(retry.retries),
            delay_ms: order.retries_delay_ms.unwrap_or(retry.delay_ms),
        },
        default_priority: order
            .default_priority
            .or_else(|| old.map(|o| o.default_priority))
            .unwrap_or_default(),
        wishes: old.map(|o| o.wishes).unwrap_or_default().changed(&order.limits),
        keep: old.map(|o| o.keep).unwrap_or_default().changed(&order.keep),
        created_at: at,
    };
    Ok(Code {
        id: latest.code,
        project: upload.project,
        name: order.name,
        max_concurrency: order.max_concurrency.unwrap_or_else(|| previous.and_then(|p| p.max_concurrency)),
        is_paused: previous.is_some_and(|p| p.is_paused),
        created_at: previous.map_or(at, |p| p.created_at),
        updated_at: at,
        deleted_at: None,
        latest,
    })
}

/// What is given over what there was. A value that is to be kept and is not there is none.
fn variables(
    given: Option<BTreeMap<String, Given<Sealed>>>,
    old: Option<&Revision>,
) -> BTreeMap<String, Sealed> {
    let Some(given) = given else { return old.map(|o| o.env_vars.clone()).unwrap_or_default() };
    let value = |(name, value)| {
        let value = match value {
            Given::New(value) => value,
            Given::Kept => old?.env_vars.get(&name)?.clone(),
        };
        Some((name, value))
    };
    given.into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seq;

    fn upload(zip: Option<&str>, order: UploadOrder<Sealed>) -> Upload {
        let blob = |sha: &str| (BlobRef { sha256: sha.to_owned(), size_bytes: 1 }, format!("md5 of {sha}"));
        Upload {
            code: CodeId::new(Seq(1), 1),
            revision: RevisionId::new(Seq(2), 1),
            project: ProjectId::new(Seq(3), 1),
            package: zip.map(blob),
            from: None,
            order,
            at: Timestamp::from_secs(1),
        }
    }

    fn order() -> UploadOrder<Sealed> {
        UploadOrder { name: "w".to_owned(), ..UploadOrder::default() }
    }

    #[test]
    fn a_first_upload_needs_something_to_run() {
        assert_eq!(revise(None, upload(None, order())), Err(NothingToRun));
        let image = Launch { image: "i".to_owned(), ..Launch::default() };
        let bare = revise(None, upload(None, UploadOrder { launch: Some(image), ..order() })).unwrap();
        assert_eq!((bare.latest.rev, bare.latest.package), (1, None));
    }

    #[test]
    fn an_upload_of_options_keeps_the_rest() {
        let vars = BTreeMap::from([("K".to_owned(), Sealed("V".to_owned()))]);
        let first = UploadOrder {
            env_vars: Some(given(&[("K", Some("V"))])),
            max_concurrency: Some(Some(3)),
            retries: Some(2),
            ..order()
        };
        let first = revise(None, upload(Some("a"), first)).unwrap();
        let second = revise(Some(&first), upload(None, UploadOrder { retries: Some(5), ..order() })).unwrap();
        assert_eq!((second.latest.rev, second.latest.retry.retries, second.max_concurrency), (2, 5, Some(3)));
        assert_eq!((&second.latest.package, &second.latest.env_vars), (&first.latest.package, &vars));
        let unlimited =
            revise(Some(&second), upload(None, UploadOrder { max_concurrency: Some(None), ..order() }))
                .unwrap();
        assert_eq!(unlimited.max_concurrency, None);
    }

    #[test]
    fn a_roll_back_is_a_new_revision_like_an_earlier_one() {
        let some = UploadOrder {
            config: Some("c".to_owned()),
            env_vars: Some(given(&[("K", Some("1"))])),
            max_concurrency: Some(Some(3)),
            ..order()
        };
        let first = revise(None, upload(Some("a"), UploadOrder { retries: Some(2), ..order() })).unwrap();
        let second = revise(Some(&first), upload(Some("b"), some)).unwrap();
        let back = Upload { from: Some(Box::new(first.latest.clone())), ..upload(None, order()) };
        let third = revise(Some(&second), back).unwrap();
        assert_eq!(third.latest, Revision { rev: 3, ..first.latest });
        assert_eq!(third.max_concurrency, Some(3), "it is the package's, not the revision's");
    }

    fn given(values: &[(&str, Option<&str>)]) -> BTreeMap<String, Given<Sealed>> {
        let one = |(name, value): &(&str, Option<&str>)| {
            let given = value.map_or(Given::Kept, |value| Given::New(Sealed(value.to_owned())));
            ((*name).to_owned(), given)
        };
        values.iter().map(one).collect()
    }

    #[test]
    fn variables_are_replaced_as_a_whole_but_for_those_that_are_to_be_kept() {
        let with = |values| UploadOrder { env_vars: Some(given(values)), ..order() };
        let first = revise(None, upload(Some("a"), with(&[("A", Some("1")), ("B", Some("2"))]))).unwrap();
        let second = with(&[("A", None), ("C", Some("3")), ("never", None)]);
        let second = revise(Some(&first), upload(None, second)).unwrap();
        let kept: Vec<_> = second.latest.env_vars.iter().map(|(n, v)| (n.as_str(), v.0.as_str())).collect();
        assert_eq!(kept, [("A", "1"), ("C", "3")]);
        let none = revise(Some(&second), upload(None, with(&[]))).unwrap();
        assert!(none.latest.env_vars.is_empty());
    }
}
