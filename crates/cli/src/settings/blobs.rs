//! Where packages, long logs and results are kept.

use std::path::{Path, PathBuf};

use windlass_store::blob::Bucket;

use super::layers::{BadSetting, Layers};
use super::units;

/// A folder or a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobSettings {
    /// Of this machine.
    Folder(PathBuf),
    /// Of an S3-compatible service.
    Bucket(Bucket),
}

/// What is set; in the data directory `data` if nothing is.
pub(super) fn blobs(layers: &Layers, data: &Path) -> Result<BlobSettings, BadSetting> {
    let optional = |key| Some(layers.text(key).0.to_owned()).filter(|text| !text.is_empty());
    let (path_style, allow_http) =
        (layers.read("s3.path_style", units::boolean)?, layers.read("s3.allow_http", units::boolean)?);
    layers.read("blobs", |text| match text.trim() {
        "" => Ok(BlobSettings::Folder(data.join("blobs"))),
        text if text.contains("://") => Ok(BlobSettings::Bucket(Bucket {
            endpoint: optional("s3.endpoint"),
            region: optional("s3.region"),
            path_style,
            allow_http,
            ..Bucket::parse(text)?
        })),
        folder => Ok(BlobSettings::Folder(PathBuf::from(folder))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<BlobSettings, String> {
        let mut layers = Layers::defaults();
        for (key, value) in pairs {
            layers.add_flag(key, (*value).to_owned(), "--set").unwrap();
        }
        blobs(&layers, Path::new("/data")).map_err(|e| e.problem)
    }

    #[test]
    fn blobs_are_beside_the_rest_unless_a_folder_or_a_bucket_is_named() {
        assert_eq!(read(&[]).unwrap(), BlobSettings::Folder("/data/blobs".into()));
        assert_eq!(read(&[("blobs", "/elsewhere")]).unwrap(), BlobSettings::Folder("/elsewhere".into()));
        let named = read(&[
            ("blobs", "s3://b/p"),
            ("s3.endpoint", "http://10.0.0.1:9000"),
            ("s3.allow_http", "true"),
        ]);
        let BlobSettings::Bucket(bucket) = named.unwrap() else { panic!("it is a bucket") };
        assert_eq!((bucket.name.as_str(), bucket.prefix.as_str(), bucket.path_style), ("b", "p", true));
        assert_eq!((bucket.endpoint.as_deref(), bucket.allow_http), (Some("http://10.0.0.1:9000"), true));
        let refused = read(&[("blobs", "gs://b")]).unwrap_err();
        assert_eq!(refused, "--set: blobs: \"gs://b\" does not begin with s3://");
    }
}
