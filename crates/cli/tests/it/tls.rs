//! The API by https, with a certificate that nobody but its clients believes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;

use crate::windlass::{Done, Windlass, binary, run};

/// Writes a certificate for `name` and its key, as `openssl req -x509` makes them: it calls itself an authority.
fn certificate(folder: &Path, name: &str) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

pub(crate) fn home(name: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    certificate(home.path(), name);
    home
}

pub(crate) const BOTH: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];

#[test]
fn everything_works_by_https_with_a_certificate_of_ones_own() {
    let windlass = Windlass::start_in(home("127.0.0.1"), &BOTH);
    assert!(windlass.url.starts_with("https://127.0.0.1:"), "{}", windlass.url);
    let iron = std::fs::read(windlass.data().join("iron.json")).unwrap();
    let iron: serde_json::Value = serde_json::from_slice(&iron).unwrap();
    assert_eq!((&iron["scheme"], &iron["protocol"]), (&"https".into(), &"https".into()));
    let ca = windlass.home().join("cert.pem").to_str().unwrap().to_owned();
    assert_eq!(iron["ca"], ca);

    // The worker calls the API as it is told to in its environment.
    let program = env!("CARGO_BIN_EXE_windlass");
    let script = format!("echo $IRON_SCHEME $WINDLASS_CA\n{program} task $TASK_ID --json | grep -c running");
    windlass.upload("w", &script, &[]);
    let id = windlass.queue("w", &[]);
    assert_eq!(windlass.json(&["task", &id, "--wait"])["status"], "complete");
    assert_eq!(windlass.ok(&["logs", &id]), format!("https {ca}\n1"));
}

#[test]
fn whom_nobody_vouches_for_is_not_believed() {
    let windlass = Windlass::start_in(home("127.0.0.1"), &BOTH);
    let iron = std::fs::read(windlass.data().join("iron.json")).unwrap();
    let iron: serde_json::Value = serde_json::from_slice(&iron).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let call = |url: &str, ca: Option<&Path>| -> Done {
        let mut command = binary(elsewhere.path());
        command.args(["codes", "--url", url, "--project-id", iron["project_id"].as_str().unwrap()]);
        command.env("IRON_TOKEN", iron["token"].as_str().unwrap());
        command.envs(ca.map(|ca| ("WINDLASS_CA", ca)));
        run(command, "")
    };
    let ca = windlass.home().join("cert.pem");
    call(&windlass.url, Some(&ca)).ok();
    let unknown = call(&windlass.url, None);
    assert!(unknown.err.contains("certificate") && unknown.err.contains("fix: "), "{}", unknown.err);
    let other_name = call(&windlass.url.replace("127.0.0.1", "localhost"), Some(&ca));
    assert!(other_name.err.contains("certificate"), "{}", other_name.err);
    certificate(elsewhere.path(), "127.0.0.1");
    let other = call(&windlass.url, Some(&elsewhere.path().join("cert.pem")));
    assert!(other.err.contains("certificate"), "{}", other.err);
    let plain = call(&windlass.url.replace("https", "http"), None);
    assert!(plain.err.contains("speaks TLS") && plain.code == 1, "{}", plain.err);

    let mut socket = TcpStream::connect(windlass.url.strip_prefix("https://").unwrap()).unwrap();
    socket.set_read_timeout(Some(crate::windlass::LIMIT)).unwrap();
    socket.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_runner_elsewhere_and_clients_call_a_server_by_the_name_that_it_has() {
    let windlass = Windlass::start_in(home("localhost"), &BOTH);
    assert!(windlass.url.starts_with("https://localhost:"), "{}", windlass.url);
    let token = windlass.ok(&["token", "create", "--everywhere", "--scope", "runner"]);
    let mut command = windlass.command(&["runner", "--server", &windlass.url, "--cluster", "far"]);
    command.args(["--ca", "cert.pem", "--slots", "1", "--set", "runner.work=far", "--token", &token]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut runner = command.spawn().unwrap();
    windlass.upload("w", "echo $WINDLASS_CA", &[]);
    let id = windlass.queue("w", &["--cluster", "far"]);
    let ended = windlass.task_when(&id, |task| task["status"] == "complete");
    assert_eq!(ended["status"], "complete");
    assert_eq!(windlass.ok(&["logs", &id]), windlass.home().join("cert.pem").to_str().unwrap());
    runner.kill().unwrap();
    runner.wait().unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_fix() {
    let home = home("127.0.0.1");
    let other = tempfile::tempdir().unwrap();
    certificate(other.path(), "127.0.0.1");
    let problem = |flags: &[&str]| {
        let mut command = binary(home.path());
        command.args(["up", "--listen", "127.0.0.1:0"]).args(flags);
        let refused = run(command, "");
        assert_eq!((refused.code, refused.out.as_str()), (1, ""));
        assert!(refused.err.contains("fix: "), "{}", refused.err);
        refused.err
    };
    let half = problem(&["--tls-cert", "cert.pem"]);
    assert!(half.contains("--tls-cert: tls.cert is cert.pem, but there is no tls.key"), "{half}");
    let nowhere = problem(&["--tls-cert", "nowhere.pem", "--tls-key", "key.pem"]);
    assert!(nowhere.contains("nowhere.pem cannot be read"), "{nowhere}");
    let key = other.path().join("key.pem");
    let mismatch = problem(&["--tls-cert", "cert.pem", "--tls-key", key.to_str().unwrap()]);
    assert!(mismatch.contains("does not belong to the first certificate in cert.pem"), "{mismatch}");
    assert!(!home.path().join("windlass-data").join("iron.json").exists(), "nothing was begun");
}
