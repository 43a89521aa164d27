//! Container images, from the archive on the disk to the end of a task, in the sandbox that this host has.

use serde_json::json;

use crate::image::{self, Image, Layer, busybox};
use crate::registry::{Mood, Registry};
use crate::windlass::{Windlass, binary, run};

/// An image that says which it is, if this host can make one and run it.
fn made(says: &str) -> Option<Image> {
    use std::io::Write as _;
    let skip = |why: &str| {
        let is_required = std::env::var_os("WINDLASS_TEST_REQUIRE_SANDBOX").is_some_and(|value| value != "0");
        assert!(!is_required, "images cannot be tested here: {why}");
        let _ = writeln!(std::io::stderr(), "\n*** NOT TESTED: images: {why} ***\n");
    };
    if !nix::unistd::geteuid().is_root() {
        skip("only root surely has a sandbox");
        return None;
    }
    let Some(program) = busybox() else {
        skip("the package busybox-static is not installed");
        return None;
    };
    let script = format!("echo {says}; cat $PAYLOAD_FILE; pwd; ls; echo done > $RESULT_FILE");
    let config = json!({ "Entrypoint": ["sh", "-c", script], "WorkingDir": "/srv" });
    Some(Image::new([Layer::busybox(&program).file("srv/inside", 0o644, b"")], config))
}

#[test]
fn an_archive_is_uploaded_and_its_tasks_run_in_it() {
    let Some(image) = made("hello") else { return };
    let windlass = Windlass::start_as(&[("WINDLASS_SANDBOX_POLICY", "require")], &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("tool.tar"), image.archive()).unwrap();
    image::write(&image.layout(), &folder.path().join("layout"));
    std::fs::create_dir(path("work")).unwrap();
    std::fs::write(path("work/own"), "").unwrap();

    let code: serde_json::Value =
        serde_json::from_str(&windlass.ok(&["upload", "--image-archive", &path("tool.tar"), "--json"]))
            .unwrap();
    assert_eq!((&code["name"], &code["image"]), (&json!("tool"), &json!("made:1")));
    assert_eq!(code["image_size"], std::fs::metadata(path("tool.tar")).unwrap().len());
    let waited = windlass.run(&["queue", "tool", "--payload", "payload,", "--wait"]);
    assert_eq!((waited.code, waited.out.as_str()), (0, "hello\npayload,/srv\ninside\n"), "{}", waited.err);

    // The same from a layout, with files beside it.
    windlass.ok(&["upload", &path("work"), "--name", "both", "--image-archive", &path("layout")]);
    let waited = windlass.run(&["queue", "both", "--payload", "", "--wait"]);
    assert_eq!((waited.code, waited.out.as_str()), (0, "hello\n/task\n__payload__\nown\n"), "{}", waited.err);
    // Options only: the image stays.
    windlass.ok(&["upload", "--name", "tool", "--retries", "1"]);
    assert_eq!(windlass.run(&["queue", "tool", "--wait"]).code, 0);

    let mut local = binary(folder.path());
    local.env("WINDLASS_SANDBOX_POLICY", "require").args(["run", "--image-archive", &path("layout")]);
    let local = run(local, "");
    assert_eq!((local.code, local.out.as_str()), (0, "hello\n/srv\ninside\n"), "{}", local.err);
}

#[test]
fn a_private_image_is_pulled_by_its_name_and_stays_what_it_was() {
    let Some(image) = made("first") else { return };
    let registry = Registry::start();
    registry.be(Mood::Token);
    let digest = registry.push("team/tool", "1", &image);
    let windlass = Windlass::start_as(
        &[("WINDLASS_SANDBOX_POLICY", "require"), ("WINDLASS_REGISTRY_PLAIN_HTTP", &registry.address)],
        &[],
    );
    let name = format!("{}/team/tool:1", registry.address);
    // Without a login nobody says what the name means, and the task says what to do.
    windlass.ok(&["upload", "--image", &name, "--name", "tool"]);
    let waited = windlass.run(&["queue", "tool", "--wait"]);
    assert!(waited.code == 1 && waited.err.contains("asks for a login"), "{}", waited.err);
    let login = windlass.command(&["project", "login", &registry.address, "--username", "user"]);
    run(login, "password\n").ok();
    let code = windlass.json(&["upload", "--image", &name, "--name", "tool"]);
    assert_eq!(code["image_digest"], digest);
    // The tag goes on, the revision does not.
    registry.push("team/tool", "1", &made("second").unwrap());
    let waited = windlass.run(&["queue", "tool", "--payload", "payload,", "--wait"]);
    assert_eq!((waited.code, waited.out.as_str()), (0, "first\npayload,/srv\ninside\n"), "{}", waited.err);
}

#[test]
fn an_archive_that_is_no_image_is_refused_when_it_is_uploaded() {
    let windlass = Windlass::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let done = windlass.run(&["upload", "--image-archive", path.to_str().unwrap()]);
        assert_ne!(done.code, 0);
        done.err
    };
    let said = refused(b"not a tar");
    assert!(said.contains("image_archive: the image cannot be used"), "{said}");
    let said = refused(&Layer::new().file("a", 0o644, b"").tar());
    assert!(said.contains("neither an OCI layout"), "{said}");
    let image = Image::new([Layer::new().file("a", 0o644, b"a")], json!({}));
    let mut files = image.layout();
    let layer = files.iter_mut().find(|(_, content)| content.starts_with(&[0x1f, 0x8b])).unwrap();
    layer.1[20] ^= 1;
    let said = refused(&image::archive(&files));
    assert!(said.contains("is something else than its digest says"), "{said}");
    // A runner that isolates nothing says so on the task.
    std::fs::write(&path, image.docker_archive()).unwrap();
    windlass.ok(&["upload", "--image-archive", path.to_str().unwrap()]);
    let waited = windlass.run(&["queue", "image", "--wait"]);
    assert!(waited.code == 1 && waited.err.contains("without a sandbox"), "{}", waited.err);
}
