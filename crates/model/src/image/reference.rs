//! The name of an image in a registry, as people write it.

use std::fmt;
use std::str::FromStr;

use super::Digest;

/// The registry of images whose names do not say.
const DEFAULT_REGISTRY: &str = "docker.io";

/// `registry/repository`, and a tag, a digest or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host and port of the registry, as in the name: `docker.io` if it says none.
    pub registry: String,
    /// The path in the registry: `library/busybox` for `busybox`.
    pub repository: String,
    /// The tag, `latest` if the name has neither tag nor digest.
    pub tag: Option<String>,
    /// The digest, which wins over the tag.
    pub digest: Option<Digest>,
}

/// A text is no name of an image; completes "the image `…` ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of the image `{name}` {why}")]
pub struct NoReference {
    name: String,
    why: &'static str,
}

impl Reference {
    /// What names it within its repository: the digest, or else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_ref().map(Digest::as_str).or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// Where the registry is reached.
    pub fn host(&self) -> &str {
        if self.registry == DEFAULT_REGISTRY { "registry-1.docker.io" } else { &self.registry }
    }
}

/// The registry that a name of a server means: `docker login` and old clients write addresses.
pub fn registry_of(address: &str) -> String {
    let address = address.trim();
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = address.split('/').next().unwrap_or_default();
    match host {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" | "hub.docker.com" => {
            DEFAULT_REGISTRY.to_owned()
        }
        host => host.to_ascii_lowercase(),
    }
}

impl FromStr for Reference {
    type Err = NoReference;

    fn from_str(name: &str) -> Result<Self, NoReference> {
        let fault = |why| NoReference { name: name.chars().take(100).collect(), why };
        let (rest, digest) = match name.split_once('@') {
            None => (name, None),
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| fault("has a digest that is no SHA-256"))?))
            }
        };
        // A colon after the last slash is that of a tag, one before it that of a port.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if is_host(first) => (registry_of(first), rest.to_owned()),
            _ => (DEFAULT_REGISTRY.to_owned(), path.to_owned()),
        };
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let is_part = |part: &str| !part.is_empty() && part.chars().all(is_plain) && !part.starts_with('.');
        if !repository.split('/').all(is_part) || repository.len() > 255 {
            return Err(fault(
                "has a path of other than small letters, digits, dots, dashes and underscores",
            ));
        }
        let is_host_letter = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if !registry.chars().all(is_host_letter) {
            return Err(fault("names a registry that is no host"));
        }
        let is_tag = |tag: &str| {
            let is_letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !tag.is_empty() && tag.len() <= 128 && tag.chars().all(is_letter) && !tag.starts_with(['.', '-'])
        };
        if !tag.is_none_or(is_tag) {
            return Err(fault("has a tag of other than letters, digits, dots, dashes and underscores"));
        }
        let is_official = registry == DEFAULT_REGISTRY && !repository.contains('/');
        let repository = if is_official { format!("library/{repository}") } else { repository };
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry, repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        let hex = "0".repeat(64);
        for (name, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("user/tool:1.2", "docker.io/user/tool:1.2"),
            ("localhost/tool", "localhost/tool:latest"),
            ("127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000/a/b/c:x"),
            ("Registry.example.org/tool", "registry.example.org/tool:latest"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
            (&format!("tool@sha256:{hex}"), &format!("docker.io/library/tool@sha256:{hex}")),
            (&format!("h.io/tool:1@sha256:{hex}"), &format!("h.io/tool:1@sha256:{hex}")),
        ] {
            assert_eq!(name.parse::<Reference>().unwrap().to_string(), full);
        }
        for name in [
            "",
            "Tool",
            "a/../b",
            "a//b",
            "tool:",
            "tool:a b",
            "tool@sha256:0",
            "h.io?x/tool",
            "a/b?c",
            "h.io/",
        ] {
            assert!(name.parse::<Reference>().is_err(), "{name}");
        }
        for (address, registry) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("", "docker.io"),
            ("https://Example.org:5000", "example.org:5000"),
            ("h.io", "h.io"),
        ] {
            assert_eq!(registry_of(address), registry);
        }
    }
}
