use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};

use tar::{Builder, Header};

use super::*;

const LIMIT: u64 = 1 << 20;

/// A tar that is made entry by entry, names and all as they are given.
#[derive(Default)]
struct Paper(Vec<u8>);

impl Paper {
    fn entry(mut self, name: &str, kind: EntryType, mode: u32, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(name, EntryType::Regular, 0o644, "", content.as_bytes())
    }

    fn folder(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, 0o755, "", b"")
    }

    fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(name, EntryType::Symlink, 0o777, to, b"")
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.entry(name, EntryType::Link, 0o644, to, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    fn unpack(self) -> (Result<Layer, String>, tempfile::TempDir) {
        unpack(LIMIT, &self.end())
    }

    fn refused(self) -> String {
        self.unpack().0.unwrap_err()
    }
}

/// Unpacks into the folder `into` of the one that is returned, in which nothing else may change.
fn unpack(limit: u64, bytes: &[u8]) -> (Result<Layer, String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (tar, into) = (folder.path().join("tar"), folder.path().join("into"));
    fs::write(&tar, bytes).unwrap();
    fs::write(folder.path().join("outside"), "untouched").unwrap();
    fs::create_dir(&into).unwrap();
    let root = File::open(&into).unwrap();
    let layer = fill(File::open(&tar).unwrap(), &root, limit);
    let layer = layer.and_then(|layer| hide(&root, &layer.hidden).map(|()| layer)).map_err(|e| e.to_string());
    assert_eq!(fs::read_to_string(folder.path().join("outside")).unwrap(), "untouched");
    assert_eq!(fs::metadata(folder.path().join("outside")).unwrap().nlink(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    (layer, folder)
}

#[test]
fn files_links_and_modes_are_kept_as_far_as_they_are_harmless() {
    let (layer, folder) = Paper::default()
        .folder("./bin/")
        .entry("bin/tool", EntryType::Regular, 0o6777, "", b"tool")
        .entry("/etc/key", EntryType::Regular, 0o400, "", b"key")
        .symlink("usr/bin", "../bin")
        .symlink("shadow", "/etc/shadow")
        .link("bin/same", "./bin/tool")
        .entry("dev/null", EntryType::Char, 0o666, "", b"")
        .entry("pipe", EntryType::Fifo, 0o666, "", b"")
        .file("twice", "first")
        .file("twice", "second")
        .unpack();
    let into = folder.path().join("into");
    assert_eq!(layer.unwrap().size_bytes, 4 + 3 + 5 + 6);
    let mode = |name: &str| {
        format!("{:o}", fs::symlink_metadata(into.join(name)).unwrap().permissions().mode() & 0o7777)
    };
    assert_eq!([mode("bin/tool"), mode("etc/key"), mode("bin")], ["755", "600", "755"]);
    assert_eq!(fs::read_link(into.join("shadow")).unwrap(), Path::new("/etc/shadow"));
    assert_eq!(fs::read_link(into.join("usr/bin")).unwrap(), Path::new("../bin"));
    assert_eq!(fs::metadata(into.join("bin/same")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(into.join("bin/tool")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(fs::read_to_string(into.join("twice")).unwrap(), "second");
    assert!(!into.join("dev/null").exists() && !into.join("pipe").exists());
}

#[test]
fn nothing_leads_out_of_a_layer() {
    for name in ["../outside", "a/../../outside", "a/.."] {
        assert!(Paper::default().file(name, "x").refused().contains("leads out of the image"), "{name}");
    }
    for target in ["..", "/", "../..", "."] {
        let way = Paper::default().symlink("way", target).file("way/outside", "x");
        assert!(way.refused().contains("`way` leads through a link"), "{target}");
        let deeper = Paper::default().symlink("way", target).file("way/into/a/b", "x");
        assert!(deeper.refused().contains("leads through a link"), "{target}");
    }
    let over = Paper::default().symlink("file", "../outside").file("file", "x").unpack();
    assert!(over.0.is_ok(), "a file takes the place of a link, and does not follow it");
    let hard = |to: &str| Paper::default().link("mine", to).refused();
    assert!(hard("../outside").contains("leads out of the image"));
    assert!(hard("/etc/passwd").contains("is no file of its layer"));
    let linked = Paper::default().symlink("way", "..").link("mine", "way/outside");
    assert!(linked.refused().contains("is no file of its layer"));
    let to_link = Paper::default().symlink("way", "../outside").link("mine", "way").file("mine", "x");
    assert!(to_link.unpack().0.is_ok(), "a hard link to a link is that link, and gives way, too");
    let through = Paper::default().file("file", "x").file("file/inside", "x");
    assert!(through.refused().contains("no folder"));
    let marked = Paper::default().symlink("way", "..").file("way/.wh.outside", "");
    assert!(marked.refused().contains("leads through a link"));
}

#[test]
fn what_is_hidden_is_marked_for_the_file_system() {
    let (layer, folder) = Paper::default()
        .file("etc/.wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/mine", "x")
        .file(".wh.anew", "")
        .file("anew/mine", "x")
        .file(".wh..wh.plnk", "")
        .file(".wh.replaced", "")
        .file("replaced", "x")
        .unpack();
    assert_eq!(layer.unwrap().hidden.len(), 4);
    let into = folder.path().join("into");
    let gone = fs::symlink_metadata(into.join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(fs::read_to_string(into.join("replaced")).unwrap(), "x");
    let mut names: Vec<_> = fs::read_dir(&into).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["anew", "etc", "opaque", "replaced"]);
    let marks = Paper::default().file("a/.wh...", "").refused();
    assert!(marks.contains("leads out of the image"), "{marks}");
}

#[test]
fn every_compression_gives_the_same_layer() {
    let tar = Paper::default().file("a", &"text ".repeat(1000)).end();
    let plain = unpack(LIMIT, &tar).0.unwrap();
    assert_eq!(plain.diff_id, hex::encode(Sha256::digest(&tar)));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    assert_eq!(unpack(LIMIT, &gzip.finish().unwrap()).0.unwrap(), plain);
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let (first, second) = tar.split_at(700);
    let mut zstd = ruzstd::encoding::compress_to_vec(first, level);
    zstd.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    zstd.extend(ruzstd::encoding::compress_to_vec(second, level));
    assert_eq!(unpack(LIMIT, &zstd).0.unwrap(), plain);
}

#[test]
fn a_layer_that_is_too_large_is_stopped_whatever_it_declares() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&Paper::default().file("bomb", &"\0".repeat(40 << 20)).end()).unwrap();
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 100_000);
    let (result, folder) = unpack(LIMIT, &bomb);
    assert!(result.unwrap_err().contains("larger than 1 MiB"));
    assert!(fs::metadata(folder.path().join("into/bomb")).unwrap().len() <= LIMIT);
    // Padding without end, and a name as long as the limit.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![0; 40 << 20]).unwrap();
    assert!(unpack(LIMIT, &gzip.finish().unwrap()).0.unwrap_err().contains("larger than 1 MiB"));
    let long = Paper::default().entry("././@LongLink", EntryType::GNULongName, 0, "", &vec![b'a'; 5000]);
    assert!(long.file("x", "").refused().contains("a name is too long"));
}

#[test]
fn half_a_layer_is_its_owners_fault() {
    let tar = Paper::default().file("a", &"a".repeat(5000)).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    for bytes in [&tar[..2000], &gzip[..gzip.len() / 2], b"\x28\xb5\x2f\xfdnothing", &[7; 512]] {
        let why = unpack(LIMIT, bytes).0.unwrap_err();
        assert!(why.contains("a layer is damaged"), "{why}");
    }
}

#[test]
fn a_layer_of_another_writer_is_read() {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("folder")).unwrap();
    fs::write(source.path().join("folder/file"), "content").unwrap();
    symlink("file", source.path().join("folder/link")).unwrap();
    let mut builder = Builder::new(Cursor::new(Vec::new()));
    builder.follow_symlinks(false);
    builder.append_dir_all("", source.path()).unwrap();
    let (layer, folder) = unpack(LIMIT, &builder.into_inner().unwrap().into_inner());
    assert_eq!(layer.unwrap().size_bytes, 7);
    assert_eq!(fs::read_to_string(folder.path().join("into/folder/link")).unwrap(), "content");
}
