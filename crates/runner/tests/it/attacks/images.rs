//! Tasks in container images: what works in them, and that the walls are the same as around zips.

use serde_json::{Value, json};
use windlass_model::bytes::Bytes;
use windlass_model::code::Launch;
use windlass_model::exit::Exit;
use windlass_model::isolation::Level;
use windlass_model::limits::Network;
use windlass_model::runner::RevisionSpec;

use super::{Target, skip, target};
use crate::image::{Image, Layer, busybox};
use crate::support::{runtime, zip};

/// Busybox in two layers, the upper of which changes and hides something of the lower.
fn image(config: Value) -> Option<Image> {
    let Some(program) = busybox() else {
        skip("the package busybox-static is not installed");
        return None;
    };
    let lower = Layer::busybox(&program)
        .file("etc/hidden", 0o644, b"hidden")
        .file("opaque/hidden", 0o644, b"hidden")
        .file("srv/kept", 0o600, b"kept");
    let upper = Layer::new()
        .file("etc/motd", 0o644, b"second\n")
        .file("etc/.wh.hidden", 0o644, b"")
        .file("opaque/.wh..wh..opq", 0o644, b"")
        .file("opaque/own", 0o644, b"own\n");
    Some(Image::new([lower, upper], config))
}

impl Target {
    fn image(&self, archive: Vec<u8>, files: &[(&str, &[u8], u32)], command: &str) -> RevisionSpec {
        let server = &self.world.server;
        let package = (!files.is_empty()).then(|| server.package(zip(files)));
        let archive = Some(server.package(archive));
        let launch =
            Launch { image: "made:1".to_owned(), command: command.to_owned(), archive, ..Launch::default() };
        let mut revision = server.revision(package, launch);
        revision.limits.memory_bytes = 64 << 20;
        revision.limits.disk_bytes = 8 << 20;
        revision.limits.processes = 32;
        revision
    }

    /// What a script does in an image: how it ended and what it wrote.
    async fn script(&self, image: &Image, script: &str) -> (Exit, String) {
        let files = [("attack.sh", script.as_bytes(), 0o644)];
        let (report, log) = self.run(&self.image(image.archive(), &files, "sh attack.sh")).await;
        (report.exit, log)
    }
}

#[tokio::test]
async fn an_image_runs_as_it_says() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let config = json!({
        "Env": ["PATH=/bin", "GREETING=hello world"], "Entrypoint": ["/bin/sh", "-c"], "WorkingDir": "/srv",
        "Cmd": ["echo $GREETING; pwd; cat kept /etc/motd /opaque/own; ls /etc/hidden /opaque/hidden 2>/dev/null"],
    });
    let Some(image) = image(config) else { return };
    for archive in [image.archive(), image.docker_archive()] {
        let revision = target.image(archive, &[], "");
        let expected = "hello world\n/srv\nkeptsecond\nown\n";
        let (report, log) = target.run(&revision).await;
        assert_eq!((report.exit, log.as_str()), (Exit::Code(1), expected));
        assert_eq!(report.isolation.level, target.isolation.level);
        // Again, with what is there by now.
        assert_eq!(target.run(&revision).await.1, expected);
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn the_contract_holds_in_an_image_too() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let Some(image) = image(json!({ "Env": ["A=image", "B=image", "TASK_ID=image"], "User": "0:0" })) else {
        return;
    };
    let script = "cat $PAYLOAD_FILE; cat $CONFIG_FILE; echo; pwd; echo $A $B $HOME $CODE_NAME; id -un; \
        [ $(id -u) != 0 ] && echo no root; ./tool; /code/tool; echo $0; touch a /tmp/b /dev/shm/c; \
        ls / | tr '\\n' ' '; cat /etc/hostname; grep -c nameserver /etc/resolv.conf; echo 42 > $RESULT_FILE; exit 7";
    let files: [(&str, &[u8], u32); 2] =
        [("script", script.as_bytes(), 0o755), ("tool", b"#!/bin/sh\necho tool", 0o644)];
    let mut revision = target.image(image.archive(), &files, "sh script");
    revision.config = Some("config".to_owned());
    revision.env_vars.insert("B".to_owned(), "package".to_owned());
    let held = target.world.server.queue(&revision, |task| task.payload = Bytes(b"payload,".to_vec()));
    let (report, log) = target.end_of(held).await;
    let expected = "payload,config\n/task\nimage package /task worker\ntask\nno root\ntool\ntool\nscript\n\
        bin code dev etc opaque proc srv sys task tmp ";
    assert!(log.starts_with(expected), "{log}");
    assert_eq!((report.exit, report.result), (Exit::Code(7), Some(Bytes(b"42\n".to_vec()))));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn an_image_needs_no_shell() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let Some(program) = busybox() else { return skip("the package busybox-static is not installed") };
    let bare =
        Image::new([Layer::new().file("busybox", 0o755, &program)], json!({ "Entrypoint": ["/busybox"] }));
    let revision = target.image(bare.archive(), &[], "echo 'no  shell'");
    let (report, log) = target.run(&revision).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "no  shell\n"));
    let nothing = target.run(&target.image(bare.archive(), &[("x", b"", 0o644)], "x")).await.0;
    assert_eq!(nothing.exit, Exit::Code(127), "busybox has no applet x");
    let missing = Image::new([Layer::new().file("only", 0o755, &program)], json!({}));
    let (report, _) = target.run(&target.image(missing.archive(), &[], "sh -c true")).await;
    let Exit::NotStarted(why) = report.exit else { panic!("{report:?}") };
    assert!(why.starts_with("cannot run sh: the image does not have it"), "{why}");
    let (report, _) = target.run(&target.image(missing.archive(), &[], "")).await;
    assert!(
        matches!(&report.exit, Exit::NotStarted(why) if why.contains("says nothing to run")),
        "{report:?}"
    );
    let nowhere =
        Image::new([Layer::busybox(&program)], json!({ "Cmd": ["true"], "WorkingDir": "/nowhere" }));
    let (report, _) = target.run(&target.image(nowhere.archive(), &[], "")).await;
    assert!(
        matches!(&report.exit, Exit::NotStarted(why) if why.contains("does not have the folder")),
        "{report:?}"
    );
    target.ends_unharmed().await;
}

#[tokio::test]
async fn an_image_that_is_no_good_says_so_and_its_slot_is_clean() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let Some(good) = image(json!({ "Cmd": ["true"] })) else { return };
    let mut files = good.layout();
    let layer = files.iter().position(|(_, content)| content.starts_with(&[0x1f, 0x8b])).unwrap();
    let mut half = files.clone();
    let length = half[layer].1.len() / 2;
    half[layer].1.truncate(length);
    let mut other = image(json!({ "Cmd": ["true"] })).unwrap();
    other.architecture = "mips".to_owned();
    let escapes = |name: &str| {
        let hostile = Layer::new().link("way", "/etc").file(name, 0o644, b"x");
        Image::new([hostile], json!({ "Cmd": ["true"] })).archive()
    };
    let mut wrong_tar = good.docker_archive();
    let at = wrong_tar.windows(6).position(|window| window == b"first\n").unwrap();
    wrong_tar[at] = b'F';
    files.remove(layer);
    for (archive, said) in [
        (crate::image::archive(&half), "is something else than its digest says"),
        (crate::image::archive(&files), "is not in it"),
        (other.archive(), "it is for linux/mips, and this runner is linux/"),
        (escapes("way/passwd"), "`way` leads through a link"),
        (wrong_tar, "a layer is sha256:"),
        (b"PK\x03\x04 is no tar".repeat(100), "damaged"),
        (Layer::new().file("a", 0o644, b"").tar(), "neither an OCI layout"),
    ] {
        let (report, _) = target.run(&target.image(archive, &[], "")).await;
        let Exit::NotStarted(why) = &report.exit else { panic!("{said}: {report:?}") };
        assert!(why.starts_with("the image cannot be used: ") && why.contains(said), "{why}");
    }
    assert_eq!(target.run(&target.image(good.archive(), &[], "")).await.0.exit, Exit::Code(0));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn nothing_of_the_host_is_in_an_image_and_nothing_of_the_image_can_be_changed() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let Some(image) = image(json!({})) else { return };
    let secret = target.world.work_dir.path().join("secret");
    std::fs::write(&secret, "the secret").unwrap();
    let script = format!(
        "for f in {} /usr /var /home /root /.image /.top /.packages /windlass/bin /proc/1/root/usr; do [ -e $f ] && echo sees $f; done
         for f in / /bin /etc /srv /code /dev /sys /proc; do touch $f/attack 2>/dev/null && echo wrote $f; done
         for f in /etc/passwd /bin/busybox /srv/kept /code/attack.sh /etc/resolv.conf; do
           (echo x >> $f) 2>/dev/null && echo changed $f; rm $f 2>/dev/null && echo removed $f; done
         busybox mount -t tmpfs x /srv 2>/dev/null && echo mounted
         busybox mount -o remount,rw / 2>/dev/null && echo remounted
         busybox umount /tmp 2>/dev/null && echo unmounted
         busybox chroot /srv 2>/dev/null && echo changed root
         busybox unshare -U true 2>/dev/null && echo unshared
         busybox mknod /task/sda b 8 0 2>/dev/null && echo made a device
         busybox kill -9 1 2>/dev/null; busybox nsenter -t 1 -m true 2>/dev/null && echo entered
         ls /proc | grep -c '^[0-9]'; head -c 100 /proc/self/mountinfo >/dev/null; echo done",
        secret.display()
    );
    let (exit, log) = target.script(&image, &script).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(log.lines().count() == 2 && log.ends_with("done\n"), "{log}");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn the_limits_hold_in_an_image_and_nothing_outlives_its_attempt() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let Some(image) = image(json!({})) else { return };
    let (exit, log) = target
        .script(&image, "head -c 20m /dev/zero > /tmp/full 2>/dev/null || echo full; df / | grep -c 100%")
        .await;
    assert!(log.starts_with("full\n"), "{exit:?} {log}");
    let (exit, _) = target.script(&image, "(busybox setsid sleep 1000 &) ; sleep 0.1; echo 1").await;
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(target.processes(), [""; 0]);
    let (exit, _) = target.script(&image, "ln -s /etc/passwd $RESULT_FILE; echo 1").await;
    assert_eq!(exit, Exit::Code(0));
    if target.isolation.at_least() > Level::Namespaces {
        let (_, log) = target
            .script(&image, "for i in $(busybox seq 100); do sleep 5 & done 2>&1; wait; echo end")
            .await;
        assert!(log.contains("can't fork"), "{log}");
        let (exit, _) =
            target.script(&image, "x=$(head -c 200m /dev/zero | busybox tr '\\0' x); echo ${#x}").await;
        assert!(matches!(exit, Exit::OutOfMemory { .. } | Exit::Code(_)), "{exit:?}");
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn tasks_of_zips_and_images_see_nothing_of_each_other() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let Some(image) = image(json!({ "Cmd": ["sh", "-c", "ls /code /usr 2>&1 | head -2; cat /etc/motd"] }))
    else {
        return;
    };
    let of_image = target.image(image.archive(), &[], "");
    let of_zip = target.sh("ls -A /.image /.top; ls /srv/kept 2>/dev/null; ls /code");
    let other = Image::new(
        [Layer::busybox(&busybox().unwrap())],
        json!({ "Cmd": ["sh", "-c", "cat /etc/motd; ls /srv 2>/dev/null"] }),
    );
    let other = target.image(other.archive(), &[], "");
    for _ in 0..3 {
        let (report, log) = target.run(&of_image).await;
        assert_eq!(
            (report.exit, log.as_str()),
            (Exit::Code(0), "ls: /usr: No such file or directory\n/code:\nsecond\n")
        );
        assert_eq!(target.run(&of_zip).await.1, "/.image:\n\n/.top:\nattack.sh\n");
        assert_eq!(target.run(&other).await.1, "first\n");
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn an_image_task_reaches_what_its_network_says() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let Some(image) = image(
        json!({ "Cmd": ["sh", "-c", "wget -q -T 5 -O - http://$WINDLASS_HOST:$WINDLASS_PORT/ >/dev/null 2>&1 && echo reached; ls /sys/class/net 2>/dev/null; cat /etc/hosts | head -1"] }),
    ) else {
        return;
    };
    let mut revision = target.image(image.archive(), &[], "");
    revision.network = Network::None;
    let (report, log) = target.run(&revision).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "127.0.0.1 localhost\n"));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_worker_of_the_old_style_runs_by_an_images_interpreter() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let Some(image) = image(json!({})) else { return };
    let mut revision = target.image(image.archive(), &[("worker.sh", b"echo old style", 0o644)], "");
    revision.launch = Launch { archive: revision.launch.archive, ..runtime("sh", "worker.sh") };
    assert_eq!(target.run(&revision).await.1, "old style\n");
    target.ends_unharmed().await;
}
