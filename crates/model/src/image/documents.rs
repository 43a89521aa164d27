//! Index, manifest and configuration of an image, as far as they matter here. What they do not say is empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Digest, Platform};

/// Says of a manifest in an index that it tells how another one was built: no image.
const ATTESTATION: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");

/// Where the name of an image stands in an index.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Content that something else refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub media_type: String,
    /// Which it is.
    pub digest: Digest,
    /// Its length in bytes.
    #[serde(default)]
    pub size: u64,
    /// The machine that it is for, where it is a manifest in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// What else is said of it.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Whether it says that it is another index.
    pub fn is_index(&self) -> bool {
        self.media_type.ends_with(".index.v1+json") || self.media_type.ends_with(".list.v2+json")
    }

    /// Whether it is about an image, and none itself.
    pub fn is_attestation(&self) -> bool {
        self.annotations.get(ATTESTATION.0).is_some_and(|kind| kind == ATTESTATION.1)
    }

    /// The name that it gives the image.
    pub fn name(&self) -> Option<&str> {
        NAMES.iter().find_map(|name| self.annotations.get(*name)).map(String::as_str)
    }
}

/// A list of manifests, for one machine each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The manifests.
    pub manifests: Vec<Descriptor>,
}

/// What an image for one machine is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// The configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The machine that it is for.
    #[serde(flatten)]
    pub platform: Platform,
    /// How it is run.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub config: RunConfig,
    /// What it is made of.
    pub rootfs: RootFs,
}

/// How an image is run where nobody says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `NAME=value`.
    #[serde(deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// What is started.
    #[serde(deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    /// Its arguments, or what is started if there is no entry point.
    #[serde(deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// Where it is started.
    #[serde(deserialize_with = "null_is_empty")]
    pub working_dir: String,
    /// As whom.
    #[serde(deserialize_with = "null_is_empty")]
    pub user: String,
}

/// The layers of an image as they are when they are not compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// The digests of their archives, the lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<Digest>,
}

/// What a registry answers for a name: one of two documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// One image.
    Manifest(Manifest),
    /// Images for several machines.
    Index(Index),
}

impl Named {
    /// Reads either; they do not always say which they are.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Either {
            manifests: Option<Vec<Descriptor>>,
            config: Option<Descriptor>,
            layers: Option<Vec<Descriptor>>,
        }
        let either: Either =
            serde_json::from_slice(bytes).map_err(|e| format!("its manifest is damaged: {e}"))?;
        match either {
            Either { manifests: Some(manifests), .. } => Ok(Named::Index(Index { manifests })),
            Either { config: Some(config), layers: Some(layers), .. } => {
                Ok(Named::Manifest(Manifest { config, layers }))
            }
            _ => Err("its manifest is of a kind that is not known: neither an index nor a list of layers"
                .to_owned()),
        }
    }
}

impl Index {
    /// The manifest for `wanted`, if the index says so of exactly one; otherwise why not.
    pub fn choose(&self, wanted: &Platform) -> Result<&Descriptor, String> {
        let images = || self.manifests.iter().filter(|manifest| !manifest.is_attestation());
        let fits =
            |manifest: &&Descriptor| manifest.platform.as_ref().is_none_or(|platform| platform == wanted);
        match images().find(fits) {
            Some(found) => Ok(found),
            None => Err(another_platform(images().filter_map(|m| m.platform.as_ref()), wanted)),
        }
    }
}

/// What is said of an image that is for other machines only.
pub(super) fn another_platform<'a>(there: impl Iterator<Item = &'a Platform>, wanted: &Platform) -> String {
    let mut there: Vec<_> = there.map(ToString::to_string).collect();
    there.sort();
    there.dedup();
    if there.is_empty() {
        return "no image is in it".to_owned();
    }
    format!("it is for {}, and this runner is {wanted}", there.join(", "))
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
