use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// Unpacks what `fill` writes; returns the outcome and the folder.
fn unpacked(
    limit: u64,
    fill: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>),
) -> (Result<Vec<Unpacked>, String>, tempfile::TempDir) {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    fill(&mut zip);
    from_bytes(limit, &zip.finish().unwrap().into_inner())
}

fn from_bytes(limit: u64, bytes: &[u8]) -> (Result<Vec<Unpacked>, String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zip");
    fs::write(&path, bytes).unwrap();
    let result = unpack(&File::open(path).unwrap(), &folder.path().join("into"), limit);
    let outside: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(outside.iter().all(|name| name == "zip" || name == "into"), "{outside:?}");
    (result.map_err(|e| e.to_string()), folder)
}

fn file(zip: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str, mode: u32, content: &[u8]) {
    zip.start_file(name, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
    zip.write_all(content).unwrap();
}

const LIMIT: u64 = 1 << 20;

#[test]
fn programs_are_recognised_and_every_mode_is_ours() {
    let (files, folder) = unpacked(LIMIT, |zip| {
        file(zip, "plain", 0o666, b"text");
        file(zip, "mode", 0o744, b"text");
        file(zip, "setuid", 0o6644, b"text");
        file(zip, "d/script", 0o644, b"#!/bin/sh");
        file(zip, "elf", 0, b"\x7fELF...");
        file(zip, "./dot//twice", 0o644, b"");
        zip.add_directory("empty/", SimpleFileOptions::default()).unwrap();
    });
    let lines: Vec<_> = files
        .unwrap()
        .iter()
        .map(|file| {
            let path = folder.path().join("into").join(&file.name);
            let meta = fs::metadata(path).unwrap();
            assert_eq!(meta.len(), file.size_bytes);
            let kind = if file.is_executable { "program" } else { "file" };
            format!("{:o} {kind} {}", meta.permissions().mode(), file.name)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    100755 program d/script
    100644 file dot/twice
    100755 program elf
    100755 program mode
    100755 file plain
    100755 file setuid
    ");
    assert!(folder.path().join("into/empty").is_dir());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let why = |name: &str| unpacked(LIMIT, |zip| file(zip, name, 0o644, b"x")).0.unwrap_err();
    let names = ["../x", "a/../../x", "a/..", "/etc/x", "a\\..\\x", "a\0b", "."];
    insta::assert_snapshot!(names.map(why).join("\n"), @r#"
    the package cannot be used: the name "../x" leads out of the package
    the package cannot be used: the name "a/../../x" leads out of the package
    the package cannot be used: the name "a/.." leads out of the package
    the package cannot be used: the name "/etc/x" is absolute
    the package cannot be used: the name "a\\..\\x" holds a backslash
    the package cannot be used: the name "a\0b" holds a zero byte
    the package cannot be used: the name "." names no file
    "#);
}

#[test]
fn links_and_special_files_are_refused() {
    let link =
        unpacked(LIMIT, |zip| zip.add_symlink("l", "/etc/passwd", SimpleFileOptions::default()).unwrap());
    assert!(link.0.unwrap_err().contains("`l` is a link"));
    // The writer makes no devices: the type is changed in the finished zip.
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    file(&mut zip, "dev", 0o644, b"x");
    let mut bytes = zip.finish().unwrap().into_inner();
    let mode = (0o100_644u32 << 16).to_le_bytes();
    let at = bytes.windows(4).rposition(|window| window == mode).unwrap();
    bytes[at..at + 4].copy_from_slice(&(0o020_644u32 << 16).to_le_bytes());
    assert!(from_bytes(LIMIT, &bytes).0.unwrap_err().contains("special file"));
}

#[test]
fn a_name_that_comes_twice_is_refused() {
    let why = |first: &'static str, second: &'static str| {
        unpacked(LIMIT, |zip| {
            file(zip, first, 0o644, b"x");
            file(zip, second, 0o644, b"x");
        })
        .0
        .unwrap_err()
    };
    for (first, second) in [("a", "./a"), ("a", "a/b"), ("a/b", "a")] {
        assert!(why(first, second).contains("two entries"), "{first} {second}");
    }
    // The same name exactly, which the writer does not write.
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    file(&mut zip, "same1", 0o644, b"x");
    file(&mut zip, "same2", 0o644, b"x");
    let mut bytes = zip.finish().unwrap().into_inner();
    while let Some(at) = bytes.windows(5).position(|window| window == b"same2") {
        bytes[at + 4] = b'1';
    }
    assert!(from_bytes(LIMIT, &bytes).0.is_err_and(|why| why.contains("2 entries with 1 names")));
}

#[test]
fn a_bomb_is_stopped_at_the_limit_whatever_it_declares() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    file(&mut zip, "bomb", 0o644, &vec![0; 50 << 20]);
    let bytes = zip.finish().unwrap().into_inner();
    assert!(bytes.len() < 100_000);
    let (result, folder) = from_bytes(LIMIT, &bytes);
    assert!(result.unwrap_err().contains("larger than 1 MiB"));
    assert!(fs::metadata(folder.path().join("into/bomb")).unwrap().len() <= LIMIT + 1);
    // A size that is declared small does not help it.
    let declared = (50u32 << 20).to_le_bytes();
    let mut liar = bytes;
    while let Some(at) = liar.windows(4).position(|window| window == declared) {
        liar[at..at + 4].copy_from_slice(&10u32.to_le_bytes());
    }
    let (result, folder) = from_bytes(LIMIT, &liar);
    assert!(result.is_err() || result.unwrap()[0].size_bytes <= LIMIT);
    assert!(fs::metadata(folder.path().join("into/bomb")).map_or(0, |meta| meta.len()) <= LIMIT + 1);
    let many = unpacked(LIMIT, |zip| (0..3).for_each(|i| file(zip, &i.to_string(), 0o644, &[0; 400 << 10])));
    assert!(many.0.unwrap_err().contains("larger than 1 MiB"));
    assert!(unpacked(LIMIT, |zip| file(zip, "exactly", 0o644, &[0; 1 << 20])).0.is_ok());
}

#[test]
fn more_entries_than_the_limit_are_refused() {
    let entries = |n: usize| {
        unpacked(LIMIT, |zip| {
            let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            (0..n).for_each(|i| zip.start_file(i.to_string(), options).unwrap());
        })
        .0
    };
    assert_eq!(
        entries(MAX_ENTRIES + 1).unwrap_err(),
        "the package cannot be used: it has 20001 entries, and 20000 is the limit"
    );
}

#[test]
fn a_damaged_zip_is_its_owners_fault() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    file(&mut zip, "a", 0o644, &(0..10_000).map(|i| (i * i % 251) as u8).collect::<Vec<_>>());
    let bytes = zip.finish().unwrap().into_inner();
    for cut in [0, 1, 22, bytes.len() / 2, bytes.len() - 1] {
        assert!(from_bytes(LIMIT, &bytes[..cut]).0.unwrap_err().contains("cannot be used"), "{cut}");
    }
    let mut flipped = bytes;
    flipped[200] ^= 0xff;
    assert!(from_bytes(LIMIT, &flipped).0.unwrap_err().contains("cannot be used"));
}
