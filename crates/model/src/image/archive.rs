//! Where in an archive the image is: an OCI layout, or what `docker save` writes. The newer archives are both.

use serde::Deserialize;

use super::documents::{Named, another_platform};
use super::{Config, Descriptor, Digest, Index, MAX_LAYERS, Platform};

/// The files of an archive.
pub trait Files {
    /// The whole content of a document, which is small; `None`: there is no such file. An error says what is wrong with
    /// it.
    fn document(&self, path: &str) -> Result<Option<Vec<u8>>, String>;
    /// The SHA-256 of some bytes.
    fn digest(&self, bytes: &[u8]) -> Digest;
}

/// An image in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is called, where the archive says so.
    pub name: Option<String>,
    /// The digest of its configuration, which names all of it.
    pub id: Digest,
    /// Its configuration.
    pub config: Config,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// A layer in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its file.
    pub path: String,
    /// What the file must be, where the archive says so.
    pub digest: Option<Digest>,
    /// What the layer must be when it is not compressed.
    pub diff_id: Digest,
}

/// Deeper than this an index leads to no image.
const MAX_DEPTH: usize = 3;

/// The image for `wanted` in an archive; none: the first, for whatever machine it is. The error says what is wrong with it, and completes "the image cannot be used:".
pub fn find(files: &impl Files, wanted: Option<&Platform>) -> Result<Found, String> {
    if let Some(index) = files.document("index.json")? {
        return of_layout(files, &index, wanted);
    }
    match files.document("manifest.json")? {
        Some(list) => of_docker(files, &list, wanted),
        None => Err("it is neither an OCI layout, which has an index.json, nor made by `docker save`, which writes a \
                     manifest.json"
            .to_owned()),
    }
}

/// Where a layout has the content with this digest.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A manifest that may be the one.
struct Candidate {
    descriptor: Descriptor,
    name: Option<String>,
}

fn of_layout(files: &impl Files, index: &[u8], wanted: Option<&Platform>) -> Result<Found, String> {
    let index: Index =
        serde_json::from_slice(index).map_err(|e| format!("its index.json is damaged: {e}"))?;
    let mut candidates = Vec::new();
    collect(files, index, None, 0, &mut candidates)?;
    let mut others = Vec::new();
    let mut found: Vec<Found> = Vec::new();
    for Candidate { descriptor, name } in candidates {
        let Some(wanted) = wanted else { return image(files, &descriptor, name) };
        if let Some(platform) = descriptor.platform.as_ref().filter(|platform| *platform != wanted) {
            others.push(platform.clone());
            continue;
        }
        let image = image(files, &descriptor, name)?;
        if image.config.platform != *wanted {
            others.push(image.config.platform);
        } else if found.iter().all(|known| known.id != image.id) {
            found.push(image);
        }
    }
    match (found.len(), found.pop()) {
        (1, Some(found)) => Ok(found),
        (0, _) => Err(another_platform(others.iter(), &wanted.cloned().unwrap_or_default())),
        (n, _) => Err(format!("it holds {n} images: save one of them alone")),
    }
}

/// Lists the manifests of an index and of those in it.
fn collect(
    files: &impl Files,
    index: Index,
    name: Option<&str>,
    depth: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<(), String> {
    for descriptor in index.manifests {
        if descriptor.is_attestation() {
            continue;
        }
        let name = descriptor.name().or(name).map(str::to_owned);
        if descriptor.is_index() {
            if depth == MAX_DEPTH {
                return Err("its index leads to another, and so on, and to no image".to_owned());
            }
            let index = verified(files, &descriptor)?;
            let index =
                serde_json::from_slice(&index).map_err(|e| format!("an index in it is damaged: {e}"))?;
            collect(files, index, name.as_deref(), depth + 1, candidates)?;
        } else {
            candidates.push(Candidate { descriptor, name });
        }
    }
    Ok(())
}

/// A document of a layout that is what its digest says.
fn verified(files: &impl Files, descriptor: &Descriptor) -> Result<Vec<u8>, String> {
    let digest = &descriptor.digest;
    let bytes = files.document(&blob_path(digest))?.ok_or_else(|| format!("{digest} is not in it"))?;
    if files.digest(&bytes) == *digest {
        Ok(bytes)
    } else {
        Err(format!("{digest} is something else than its digest says"))
    }
}

fn image(files: &impl Files, descriptor: &Descriptor, name: Option<String>) -> Result<Found, String> {
    let Named::Manifest(manifest) = Named::parse(&verified(files, descriptor)?)? else {
        return Err("its index leads to another where an image should be".to_owned());
    };
    let config = configuration(&verified(files, &manifest.config)?)?;
    let layers = manifest.layers.iter().map(|layer| (blob_path(&layer.digest), Some(layer.digest.clone())));
    Ok(Found { name, id: manifest.config.digest.clone(), layers: joined(layers.collect(), &config)?, config })
}

fn of_docker(files: &impl Files, list: &[u8], wanted: Option<&Platform>) -> Result<Found, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Image {
        config: String,
        #[serde(default)]
        repo_tags: Option<Vec<String>>,
        layers: Vec<String>,
    }
    let mut images: Vec<Image> =
        serde_json::from_slice(list).map_err(|e| format!("its manifest.json is damaged: {e}"))?;
    let image = match (images.len(), images.pop()) {
        (1, Some(image)) => image,
        (n, _) => return Err(format!("it holds {n} images: save one of them alone")),
    };
    let bytes = files.document(&image.config)?.ok_or_else(|| format!("{} is not in it", image.config))?;
    let config = configuration(&bytes)?;
    if let Some(wanted) = wanted.filter(|wanted| config.platform != **wanted) {
        return Err(another_platform([&config.platform].into_iter(), wanted));
    }
    let layers = joined(image.layers.into_iter().map(|path| (path, None)).collect(), &config)?;
    let name = image.repo_tags.and_then(|tags| tags.into_iter().next());
    Ok(Found { name, id: files.digest(&bytes), config, layers })
}

/// Reads the configuration of an image.
pub fn configuration(bytes: &[u8]) -> Result<Config, String> {
    serde_json::from_slice(bytes).map_err(|e| format!("its configuration is damaged: {e}"))
}

/// The layers, each with what it must be.
fn joined(layers: Vec<(String, Option<Digest>)>, config: &Config) -> Result<Vec<Layer>, String> {
    let diff_ids = &config.rootfs.diff_ids;
    if layers.len() != diff_ids.len() {
        return Err(format!(
            "it has {} layers, and its configuration names {}",
            layers.len(),
            diff_ids.len()
        ));
    }
    if layers.is_empty() {
        return Err("it has no layers".to_owned());
    }
    if layers.len() > MAX_LAYERS {
        return Err(format!("it has {} layers, and {MAX_LAYERS} is the limit", layers.len()));
    }
    let layers = layers.into_iter().zip(diff_ids);
    Ok(layers.map(|((path, digest), diff_id)| Layer { path, digest, diff_id: diff_id.clone() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// An archive in memory. Its digests are the lengths of what they name, which is enough to tell here.
    #[derive(Default)]
    struct Paper(BTreeMap<String, Vec<u8>>);

    fn digest(bytes: &[u8]) -> Digest {
        let sum =
            bytes.iter().fold(bytes.len() as u64, |sum, &b| sum.wrapping_mul(31).wrapping_add(b.into()));
        Digest::of_hex(&format!("{sum:064x}")).unwrap()
    }

    impl Files for Paper {
        fn document(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
            Ok(self.0.get(path).cloned())
        }

        fn digest(&self, bytes: &[u8]) -> Digest {
            digest(bytes)
        }
    }

    impl Paper {
        fn blob(&mut self, text: &str) -> Digest {
            let digest = digest(text.as_bytes());
            self.0.insert(blob_path(&digest), text.as_bytes().to_vec());
            digest
        }

        /// Adds an image for `architecture`; returns its manifest's digest.
        fn image(&mut self, architecture: &str) -> Digest {
            let layer = self.blob("layer");
            let config = self.blob(&format!(
                r#"{{"os":"linux","architecture":"{architecture}","config":{{"Cmd":null,"Env":["A=b"]}},"rootfs":{{"diff_ids":["{layer}"]}}}}"#
            ));
            self.blob(&format!(
                r#"{{"config":{{"digest":"{config}"}},"layers":[{{"digest":"{layer}","size":5}}]}}"#
            ))
        }

        fn index(&mut self, manifests: &str) {
            self.0.insert("index.json".to_owned(), format!(r#"{{"manifests":[{manifests}]}}"#).into_bytes());
        }

        fn find(&self) -> Result<Found, String> {
            find(self, Some(&Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() }))
        }
    }

    #[test]
    fn a_layout_of_one_image_needs_not_say_for_what_machine_it_is() {
        let mut paper = Paper::default();
        let manifest = paper.image("amd64");
        paper.index(&format!(
            r#"{{"digest":"{manifest}","annotations":{{"org.opencontainers.image.ref.name":"tool:1"}}}}"#
        ));
        let found = paper.find().unwrap();
        assert_eq!((found.name.as_deref(), found.layers.len()), (Some("tool:1"), 1));
        assert_eq!(found.config.config.env, ["A=b"]);
        assert_eq!(found.layers[0].path, blob_path(&digest(b"layer")));
    }

    #[test]
    fn of_several_images_the_one_for_this_machine_is_taken() {
        let mut paper = Paper::default();
        let (ours, other) = (paper.image("amd64"), paper.image("arm64"));
        let both = format!(
            r#"{{"digest":"{other}","platform":{{"os":"linux","architecture":"arm64"}}}},
               {{"digest":"{ours}","platform":{{"os":"linux","architecture":"amd64"}}}},
               {{"digest":"{other}","platform":{{"os":"unknown","architecture":"unknown"}},"annotations":{{"vnd.docker.reference.type":"attestation-manifest"}}}}"#
        );
        let inner = paper.blob(&format!(r#"{{"manifests":[{both}]}}"#));
        paper.index(&format!(
            r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{inner}"}}"#
        ));
        assert_eq!(paper.find().unwrap().config.platform.architecture, "amd64");
        paper.index(&format!(r#"{{"digest":"{other}"}}"#));
        assert_eq!(paper.find().unwrap_err(), "it is for linux/arm64, and this runner is linux/amd64");
        assert_eq!(find(&paper, None).unwrap().config.platform.architecture, "arm64");
        paper.index("");
        assert_eq!(paper.find().unwrap_err(), "no image is in it");
    }

    #[test]
    fn content_that_is_not_what_its_digest_says_is_refused() {
        let mut paper = Paper::default();
        let manifest = paper.image("amd64");
        paper.index(&format!(r#"{{"digest":"{manifest}"}}"#));
        paper.0.insert(blob_path(&manifest), b"{}".to_vec());
        assert!(paper.find().unwrap_err().contains("is something else than its digest says"));
        paper.0.remove(&blob_path(&manifest));
        assert!(paper.find().unwrap_err().contains("is not in it"));
        paper.index(r#"{"digest":"sha256:../../etc/passwd"}"#);
        assert!(paper.find().unwrap_err().contains("is no SHA-256 digest"));
    }

    #[test]
    fn an_archive_of_docker_is_read_and_what_is_odd_is_named() {
        let mut paper = Paper::default();
        let diff = digest(b"layer");
        let config = |architecture: &str| {
            format!(r#"{{"os":"linux","architecture":"{architecture}","rootfs":{{"diff_ids":["{diff}"]}}}}"#)
        };
        paper.0.insert("c.json".to_owned(), config("amd64").into_bytes());
        let list = |layers: &str| {
            format!(r#"[{{"Config":"c.json","RepoTags":["tool:2"],"Layers":[{layers}]}}]"#).into_bytes()
        };
        paper.0.insert("manifest.json".to_owned(), list(r#""l/layer.tar""#));
        let found = paper.find().unwrap();
        assert_eq!((found.name.as_deref(), found.layers[0].path.as_str()), (Some("tool:2"), "l/layer.tar"));
        assert_eq!(found.id, digest(config("amd64").as_bytes()));
        paper.0.insert("c.json".to_owned(), config("s390x").into_bytes());
        assert!(paper.find().unwrap_err().starts_with("it is for linux/s390x"));
        paper.0.insert("manifest.json".to_owned(), list(""));
        paper.0.insert("c.json".to_owned(), config("amd64").into_bytes());
        assert_eq!(paper.find().unwrap_err(), "it has 0 layers, and its configuration names 1");
        assert!(Paper::default().find().unwrap_err().contains("neither an OCI layout"));
    }
}
