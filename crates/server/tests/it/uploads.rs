//! Uploads in every client's form, and every zip that is not taken.

use std::io::{Cursor, Write as _};

use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use windlass_server::Config;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::server::{Answer, TestServer};

fn zip(build: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    build(&mut writer);
    writer.finish().unwrap().into_inner()
}

fn zip_of(names: &[&str]) -> Vec<u8> {
    zip(|z| {
        for name in names {
            z.start_file(*name, SimpleFileOptions::default()).unwrap();
            z.write_all(b"echo hello\n").unwrap();
        }
    })
}

/// A multipart body; each part is its headers and its content.
fn multipart(boundary: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (headers, content) in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{headers}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

impl TestServer {
    async fn upload_as(&self, content_type: &str, body: Vec<u8>) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.path("codes"))
            .header("authorization", format!("OAuth {}", self.admin))
            .header("content-type", content_type);
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn upload(&self, data: &serde_json::Value, zip: &[u8]) -> Answer {
        let body = multipart(
            "X",
            &[
                ("Content-Disposition: form-data; name=\"data\"", data.to_string().as_bytes()),
                ("Content-Disposition: form-data; name=\"file\"; filename=\"w.zip\"", zip),
            ],
        );
        self.upload_as("multipart/form-data; boundary=X", body).await
    }
}

fn sh() -> serde_json::Value {
    json!({ "name": "w", "runtime": "sh", "file_name": "__runner__.sh" })
}

#[tokio::test]
async fn every_clients_upload_arrives_to_the_byte() {
    let server = TestServer::start().await;
    let package = zip_of(&["__runner__.sh"]);
    let literal = python_literal(&package);
    let data = sh().to_string();
    let with_break = format!("{data}\n");
    for (client, content_type, boundary, data_headers, data, file_headers, file) in [
        (
            "go",
            "multipart/form-data; boundary=194931a",
            "194931a",
            "Content-Disposition: form-data; name=\"data\"",
            with_break.as_str(),
            "Content-Disposition: form-data; name=\"file\"; filename=\"worker.zip\"\r\nContent-Type: application/zip",
            package.as_slice(),
        ),
        (
            "ruby",
            "multipart/form-data; boundary=194931",
            "194931",
            "Content-Disposition: form-data; name=\"data\"",
            data.as_str(),
            "Content-Disposition: form-data; name=\"file\"; filename=\"tmp-1\"\r\nContent-Type: application/zip",
            &package,
        ),
        (
            "node",
            "multipart/form-data; boundary=--------------------NODENEEDLEHTTPCLIENT",
            "--------------------NODENEEDLEHTTPCLIENT",
            "Content-Disposition: form-data; name=\"data\"",
            &data,
            "Content-Disposition: form-data; name=\"file\"; filename=\"file\"\r\nContent-Transfer-Encoding: binary\r\nContent-Type: application/zip",
            &package,
        ),
        (
            "java",
            "multipart/form-data; boundary=AbC-_1; charset=US-ASCII",
            "AbC-_1",
            "Content-Disposition: form-data; name=\"data\"\r\nContent-Type: text/plain; charset=US-ASCII\r\nContent-Transfer-Encoding: 8bit",
            &data,
            "Content-Disposition: form-data; name=\"file\"; filename=\"h.zip\"\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary",
            &package,
        ),
        (
            "python 2",
            "multipart/form-data; boundary=----------ThIs_Is_tHe_bouNdaRY_$",
            "----------ThIs_Is_tHe_bouNdaRY_$",
            "Content-Disposition: form-data; name=\"data\"",
            &data,
            "Content-Disposition: form-data; name=\"file\"; filename=\"PyHello.zip\"\r\nContent-Type: application/zip",
            &package,
        ),
        (
            "python 3",
            "multipart/form-data; boundary=----------ThIs_Is_tHe_bouNdaRY_$",
            "----------ThIs_Is_tHe_bouNdaRY_$",
            "Content-Disposition: form-data; name=\"data\"",
            &data,
            "Content-Disposition: form-data; name=\"file\"; filename=\"PyHello.zip\"\r\nContent-Type: application/zip",
            &literal,
        ),
    ] {
        let body = multipart(boundary, &[(data_headers, data.as_bytes()), (file_headers, file)]);
        let answer = server.upload_as(content_type, body).await;
        assert_eq!(answer.status, 200, "{client}: {}", answer.text());
        let code = answer.json();
        assert_eq!(code["msg"], "Upload successful.", "{client}");
        let id = code["id"].as_str().unwrap();
        let back = server.get(&format!("codes/{id}/download")).await;
        assert_eq!(back.body, package, "{client}");
        let name = format!("filename=w_{}.zip", code["rev"]);
        assert_eq!(
            (back.header("content-type"), back.header("content-disposition")),
            ("application/zip", name.as_str())
        );
        assert_eq!(code["latest_checksum"].as_str().unwrap().len(), 32);
    }
}

/// What Python 3 makes of bytes with `str()`.
fn python_literal(bytes: &[u8]) -> Vec<u8> {
    let mut text = "b'".to_owned();
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' | b'\'' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('\'');
    text.into_bytes()
}

#[tokio::test]
async fn a_new_upload_is_a_new_revision_and_options_alone_keep_the_zip() {
    let server = TestServer::start().await;
    let (old, new) = (zip_of(&["__runner__.sh"]), zip_of(&["__runner__.sh", "b"]));
    let id = server.upload(&sh(), &old).await.json()["id"].as_str().unwrap().to_owned();
    let second = server.upload(&json!({ "name": "w" }), &new).await.json();
    assert_eq!((&second["id"], &second["rev"], &second["runtime"]), (&json!(id), &json!(2), &json!("sh")));
    // What Ruby's `register` and `patch` send: plain JSON, or an empty text field for the file.
    let third = server.post("codes", json!({ "name": "w", "max_concurrency": 3 })).await.json();
    assert_eq!((&third["rev"], &third["max_concurrency"]), (&json!(3), &json!(3)));
    let fourth = server.upload(&json!({ "name": "w", "retries": 2 }), b"").await.json();
    assert_eq!((&fourth["rev"], &fourth["retries"]), (&json!(4), &json!(2)));
    let download = async |rest: &str| server.get(&format!("codes/{id}/download{rest}")).await.body;
    assert_eq!(download("").await, new);
    assert_eq!(download("?revision=1").await, old);
    assert_eq!(server.get(&format!("codes/{id}/download?revision=9")).await.status, 404);
    let revisions = server.get(&format!("codes/{id}/revisions")).await.json();
    let revs: Vec<_> =
        revisions["revisions"].as_array().unwrap().iter().map(|r| r["rev"].as_u64().unwrap()).collect();
    assert_eq!(revs, [1, 2, 3, 4]);
    // A runner fetches it by its hash.
    let runner = server.runner(1).await;
    server.queue(json!({ "code_name": "w" })).await;
    let claim: windlass_model::runner::Claim = runner
        .call(
            "claim",
            &windlass_model::runner::ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None },
        )
        .await;
    let package = claim.revisions[0].package.clone().unwrap();
    let path = format!("/2/runners/packages/{}", package.sha256);
    let fetched = server.call(Method::GET, &path, &server.runner_token, None).await;
    assert_eq!(
        (fetched.body.as_ref(), fetched.header("content-length")),
        (new.as_slice(), new.len().to_string().as_str())
    );
    for wrong in ["x", "../../secret", &"0".repeat(64)] {
        let path = format!("/2/runners/packages/{}", wrong.replace('/', "%2F"));
        assert_eq!(server.call(Method::GET, &path, &server.runner_token, None).await.status, 404);
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_upload_is_named() {
    let server = TestServer::start().await;
    let good = zip_of(&["__runner__.sh"]);
    let said = async |data: serde_json::Value, zip: &[u8]| server.upload(&data, zip).await.said();
    assert_eq!(
        said(sh(), b"").await,
        (400, "Code package zip file required if no image specified".to_owned())
    );
    assert_eq!(said(json!({ "runtime": "sh" }), &good).await, (400, "name: is required".to_owned()));
    assert_eq!(
        said(json!({ "name": "w" }), &good).await,
        (400, "command: is required, or file_name: what is to be started in the zip".to_owned())
    );
    assert_eq!(
        said(json!({ "name": "w", "runtime": "sh" }), &good).await,
        (400, "file_name: is required".to_owned())
    );
    assert_eq!(
        said(json!({ "name": "w", "runtime": "sh", "file_name": "missing.sh" }), &good).await,
        (400, "file_name: there is no file \"missing.sh\" in the zip".to_owned())
    );
    assert_eq!(said(json!({ "name": "w", "command": "x", "retries": 11 }), &good).await.0, 400);
    assert_eq!(
        said(json!({ "name": "w", "command": "x", "config": "c".repeat(70_000) }), &good).await.0,
        413
    );
    let garbage = said(sh(), b"this is no zip").await;
    assert!(garbage.0 == 400 && garbage.1.starts_with("file: it is not a readable zip"), "{garbage:?}");
    let cut = said(sh(), &good[..good.len() - 10]).await;
    assert_eq!(cut.0, 400, "{cut:?}");
    let broken = said(sh(), b"b'PK\\x0'").await;
    assert_eq!(
        broken.1,
        "file: the zip was sent as the text of a Python bytes literal, and the literal is damaged"
    );

    let no_boundary = server.upload_as("multipart/form-data", Vec::new()).await.said();
    assert_eq!(no_boundary, (400, "the Content-Type names no usable multipart boundary".to_owned()));
    let no_data = multipart("X", &[("Content-Disposition: form-data; name=\"file\"", &good)]);
    let no_data = server.upload_as("multipart/form-data; boundary=X", no_data).await.said();
    assert_eq!(no_data, (400, "data: is required, a part with the options as JSON".to_owned()));
    let bad_data = multipart("X", &[("Content-Disposition: form-data; name=\"data\"", b"{")]);
    let bad_data = server.upload_as("multipart/form-data; boundary=X", bad_data).await.said();
    assert!(bad_data.1.starts_with("data: the body is not valid JSON"), "{}", bad_data.1);
    let mut half = multipart("X", &[("Content-Disposition: form-data; name=\"file\"", &good)]);
    half.truncate(half.len() / 2);
    let half = server.upload_as("multipart/form-data; boundary=X", half).await.said();
    assert_eq!(half, (400, "the upload ended early: its closing boundary is missing".to_owned()));
    assert_eq!(server.get("codes").await.json()["codes"], json!([]), "nothing was kept");
}

#[tokio::test]
async fn zips_that_would_do_harm_are_refused_with_the_entry_and_the_limit() {
    let mut config = Config::default();
    config.packages.entries = 100;
    config.packages.unpacked_bytes = 10_000;
    config.packages.zip_bytes = 100_000;
    let server = TestServer::with(config).await;
    let plain = SimpleFileOptions::default();
    let command = json!({ "name": "w", "command": "true" });
    let escape = zip_of(&["ok", "../../etc/cron.d/x"]);
    let absolute = zip_of(&["/etc/passwd"]);
    let windows = zip_of(&["a\\..\\..\\b"]);
    // What a runner would refuse, and the task would be told instead of whoever uploads.
    let twice = zip_of(&["lib/a", "./lib/a"]);
    let within = zip_of(&["lib/a", "lib"]);
    let same = {
        let bytes = zip_of(&["aaaa", "bbbb"]);
        bytes.iter().map(|&byte| if byte == b'b' { b'a' } else { byte }).collect::<Vec<u8>>()
    };
    let link = zip(|z| z.add_symlink("link", "/etc/passwd", plain).unwrap());
    let many = zip(|z| (0..101).for_each(|n| z.start_file(n.to_string(), plain).unwrap()));
    let bomb = zip(|z| {
        z.start_file("zeros", plain).unwrap();
        z.write_all(&vec![0; 10_001]).unwrap();
    });
    // They say of themselves, in both places, that they are shorter or longer than they are.
    let liar = |said: u32| {
        let mut bytes = zip(|z| {
            z.start_file("zeros", plain).unwrap();
            z.write_all(&vec![0; 9_001]).unwrap();
        });
        for (header, at) in [(b"PK\x03\x04", 22), (b"PK\x01\x02", 24)] {
            let at = memchr(&bytes, header) + at;
            assert_eq!(bytes[at..at + 4], 9_001u32.to_le_bytes());
            bytes[at..at + 4].copy_from_slice(&said.to_le_bytes());
        }
        bytes
    };
    let broken = {
        let mut bytes = zip_of(&["a"]);
        let at = memchr(&bytes, b"PK\x01\x02") + 16;
        bytes[at] ^= 1;
        bytes
    };
    let long = zip_of(&[&"d/".repeat(600)]);
    let large = vec![b'x'; 100_001];
    let device = {
        let mut bytes = zip(|z| z.start_file("dev", plain.unix_permissions(0o644)).unwrap());
        // The kind of the entry is in the upper half of its external attributes.
        let at = memchr(&bytes, b"PK\x01\x02") + 38;
        bytes[at + 2..at + 4].copy_from_slice(&0o020_644u16.to_le_bytes());
        bytes
    };
    let encrypted = {
        let mut bytes = zip_of(&["secret"]);
        let at = memchr(&bytes, b"PK\x01\x02") + 8;
        bytes[at] |= 1;
        bytes
    };
    for (bytes, status, msg) in [
        (escape, 400, "file: entry \"../../etc/cron.d/x\" leads out of the package"),
        (absolute, 400, "file: entry \"/etc/passwd\" is absolute"),
        (windows, 400, "holds a backslash"),
        (twice, 400, "file: the zip has two entries for \"lib/a\""),
        (within, 400, "file: the zip has two entries for \"lib\""),
        (same, 400, "file: the zip has 2 entries with 1 names"),
        (link, 400, "file: entry \"link\" is a symbolic link; zip the file itself"),
        (device, 400, "file: entry \"dev\" is neither a file nor a folder"),
        (encrypted, 400, "file: entry \"secret\" is encrypted"),
        (many, 413, "file: the zip has 101 entries, the limit is 100"),
        (bomb, 413, "file: the zip unpacks to more than the limit of 10000 bytes, with entry \"zeros\""),
        (liar(9_000), 400, "file: entry \"zeros\" is damaged: "),
        (liar(9_002), 400, "file: entry \"zeros\" is damaged: it has not the 9002 bytes that it says"),
        (broken, 400, "file: entry \"a\" is damaged"),
        (long, 413, "has a path of 1200 bytes, the limit is 1024"),
        (large, 413, "file: the zip is larger than the limit of 100000 bytes"),
    ] {
        let said = server.upload(&command, &bytes).await.said();
        assert!(said.0 == status && said.1.contains(msg), "{said:?} instead of {msg}");
    }
    assert_eq!(server.get("codes").await.json()["codes"], json!([]));
}

fn memchr(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|w| w == needle).unwrap()
}

#[tokio::test]
async fn a_zip_that_claims_a_hundred_thousand_entries_is_refused_before_it_is_read() {
    let server = TestServer::start().await;
    let command = json!({ "name": "w", "command": "true" });
    let said = server.upload(&command, &empty_files(100_000)).await.said();
    assert_eq!(said, (413, "file: the zip has 100000 entries, the limit is 20000".to_owned()));
    assert_eq!(server.upload(&command, &empty_files(1000)).await.status, 200);
}

/// A zip of so many empty files, by hand: the writer takes seconds for it. Ends as zip64.
fn empty_files(n: u32) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for n in 0..n {
        let (name, at) = (format!("f{n:06}"), bytes.len() as u32);
        // Version 20, no flags, stored, no time, no checksum, no bytes, a name of 7, nothing extra.
        let common = [20u16, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 7, 0].map(u16::to_le_bytes).concat();
        bytes.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes()].concat());
        directory.extend(
            [b"PK\x01\x02\x14\0", common.as_slice(), &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat(),
        );
    }
    let (at, size) = (bytes.len() as u64, directory.len() as u64);
    bytes.extend(directory);
    let end_at = bytes.len() as u64;
    let count = u64::from(n);
    bytes.extend([b"PK\x06\x06".as_slice(), &44u64.to_le_bytes(), &[45, 0, 45, 0], &[0; 8]].concat());
    bytes.extend([count, count, size, at].map(u64::to_le_bytes).concat());
    bytes.extend([b"PK\x06\x07".as_slice(), &[0; 4], &end_at.to_le_bytes(), &[1, 0, 0, 0]].concat());
    bytes.extend([b"PK\x05\x06".as_slice(), &[0; 4], &[0xff; 12], &[0; 2]].concat());
    bytes
}

#[tokio::test]
async fn a_roll_back_runs_what_ran_before() {
    let server = TestServer::start().await;
    let options = |more: serde_json::Value| {
        let mut data = sh();
        data.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        data
    };
    let first = options(json!({ "env_vars": { "KEY": "one" }, "retries": 2, "memory": "64M" }));
    let id =
        server.upload(&first, &zip_of(&["__runner__.sh"])).await.json()["id"].as_str().unwrap().to_owned();
    let second =
        options(json!({ "env_vars": { "KEY": "two" }, "retries": 5, "config": "c", "max_concurrency": 3 }));
    assert_eq!(server.upload(&second, &zip_of(&["__runner__.sh", "more"])).await.status, 200);

    let back = server.post(&format!("codes/{id}/rollback?revision=1"), json!({})).await;
    assert_eq!(back.msg(), "Rolled back to revision 1");
    let revisions = server.get(&format!("codes/{id}/revisions")).await.json()["revisions"].clone();
    let (old, new) = (&revisions[0], &revisions[2]);
    for field in ["checksum", "code_size", "command", "runtime", "file_name", "config", "retries", "memory"] {
        assert_eq!(old[field], new[field], "{field}");
    }
    assert_eq!((&back.json()["rev"], &back.json()["max_concurrency"]), (&json!(3), &json!(3)));
    let zip = server.get(&format!("codes/{id}/download")).await;
    assert_eq!(zip.body, server.get(&format!("codes/{id}/download?revision=1")).await.body);

    server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let claim: windlass_model::runner::Claim = runner
        .call(
            "claim",
            &windlass_model::runner::ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None },
        )
        .await;
    assert_eq!(claim.revisions[0].env_vars["KEY"], "one", "the value that was sealed then");

    let said = |rest: &'static str| {
        let (server, path) = (&server, format!("codes/{id}/rollback{rest}"));
        async move { server.post(&path, json!({})).await.said() }
    };
    assert_eq!(said("").await, (400, "revision: is required".to_owned()));
    assert_eq!(said("?revision=9").await, (404, "Revision not found".to_owned()));
    let newest = "revision 3 is the newest: there is nothing to go back from";
    assert_eq!(said("?revision=3").await, (400, newest.to_owned()));
}
