//! Images as an archive holds them, made from Debian's static busybox: no registry, no engine.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The programs that images have, all of them one file.
const PROGRAMS: [&str; 16] = [
    "sh", "echo", "cat", "id", "ls", "true", "sleep", "env", "pwd", "touch", "wget", "nslookup", "stat",
    "head", "df", "mkdir",
];

/// The static busybox of this host; `None`: it is not installed.
pub(crate) fn busybox() -> Option<Vec<u8>> {
    let program = std::fs::read("/bin/busybox").ok()?;
    // A dynamic one names the program that loads it.
    let is_static = !program.windows(10).take(64 << 10).any(|window| window == b"/lib64/ld-");
    is_static.then_some(program)
}

/// A layer that is made entry by entry.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// One with busybox, the links to it and a list of users.
    pub(crate) fn busybox(program: &[u8]) -> Self {
        let layer = Self::new().file("bin/busybox", 0o755, program);
        let layer = PROGRAMS.iter().fold(layer, |layer, name| layer.link(&format!("bin/{name}"), "busybox"));
        layer
            .file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")
            .file("etc/motd", 0o644, b"first\n")
    }

    pub(crate) fn file(mut self, name: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }

    pub(crate) fn link(mut self, name: &str, to: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        self.0.append_link(&mut header, name, to).unwrap();
        self
    }

    pub(crate) fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// An image that is not yet anywhere.
pub(crate) struct Image {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) architecture: String,
    pub(crate) config: Value,
}

impl Image {
    pub(crate) fn new(layers: impl IntoIterator<Item = Layer>, config: Value) -> Self {
        let platform = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            layers: layers.into_iter().map(Layer::tar).collect(),
            architecture: platform.to_owned(),
            config,
        }
    }

    /// Its files in an OCI layout: path and content. Layers are compressed.
    pub(crate) fn layout(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let diff_ids: Vec<_> = self.layers.iter().map(|tar| digest(tar)).collect();
        let layers: Vec<_> = self.layers.iter().map(|tar| blob(&mut files, &gzip(tar))).collect();
        let config = json!({
            "os": "linux", "architecture": self.architecture, "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = blob(&mut files, config.to_string().as_bytes());
        let manifest = blob(
            &mut files,
            json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string().as_bytes(),
        );
        let mut manifest = manifest;
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "made:1" });
        files.push((
            "index.json".to_owned(),
            json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string().into_bytes(),
        ));
        files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        files
    }

    /// The layout as an archive.
    pub(crate) fn archive(&self) -> Vec<u8> {
        archive(&self.layout())
    }

    /// The same as `docker save` writes it.
    pub(crate) fn docker_archive(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|tar| digest(tar)).collect();
        let config = json!({
            "os": "linux", "architecture": self.architecture, "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let mut files = vec![("config.json".to_owned(), config.to_string().into_bytes())];
        let layers: Vec<_> = (0..self.layers.len()).map(|n| format!("{n}/layer.tar")).collect();
        files.extend(layers.iter().cloned().zip(self.layers.iter().cloned()));
        let list = json!([{ "Config": "config.json", "RepoTags": ["made:2"], "Layers": layers }]);
        files.push(("manifest.json".to_owned(), list.to_string().into_bytes()));
        archive(&files)
    }
}

/// Files as an archive.
pub(crate) fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let layer = files.iter().fold(Layer::new(), |tar, (name, content)| tar.file(name, 0o644, content));
    layer.tar()
}

/// Writes files below a folder.
pub(crate) fn write(files: &[(String, Vec<u8>)], folder: &Path) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn blob(files: &mut Vec<(String, Vec<u8>)>, content: &[u8]) -> Value {
    let digest = digest(content);
    files.push((format!("blobs/sha256/{}", &digest[7..]), content.to_vec()));
    json!({ "mediaType": "application/octet-stream", "digest": digest, "size": content.len() })
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}
