//! Images from a registry, and what becomes of a task when there is none to be had.

use std::time::Duration;

use serde_json::json;
use windlass_model::code::Launch;
use windlass_model::exit::Exit;
use windlass_model::isolation::Level;
use windlass_model::runner::{Login, RevisionSpec};

use super::{Target, skip, target_with};
use crate::image::{Image, Layer, busybox};
use crate::registry::{Mood, Registry};

/// An image that says something, in a registry, and whoever pulls from there.
async fn world(says: &str) -> Option<(Target, Registry, Image)> {
    let Some(program) = busybox() else {
        skip("the package busybox-static is not installed");
        return None;
    };
    let registry = Registry::start();
    let address = registry.address.clone();
    let target = target_with(Level::Namespaces, move |config| {
        config.registry.plain_http = vec![address];
        config.registry.silence = Duration::from_secs(2);
    });
    let image = Image::new([Layer::busybox(&program)], json!({ "Cmd": ["echo", says] }));
    Some((target.await?, registry, image))
}

impl Target {
    fn named(&self, registry: &Registry, name: &str) -> RevisionSpec {
        let image = format!("{}/{name}", registry.address);
        self.world.server.revision(None, Launch { image, ..Launch::default() })
    }

    async fn refused(&self, revision: &RevisionSpec) -> String {
        match self.run(revision).await.0.exit {
            Exit::NotStarted(why) => why,
            exit => panic!("{exit:?}"),
        }
    }
}

fn login(password: &str) -> Option<Login> {
    Some(Login { username: "user".to_owned(), password: password.to_owned() })
}

#[tokio::test]
async fn an_image_is_pulled_once_and_stays_what_it_was() {
    let Some((target, registry, image)) = world("first").await else { return };
    let first = registry.push("team/tool", "1", &image);
    let revision = target.named(&registry, "team/tool:1");
    let (report, log) = target.run(&revision).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "first\n"));
    assert!(registry.asked().iter().any(|path| path.contains("/blobs/")));
    // The tag goes on, the revision does not.
    let changed = Image::new([Layer::busybox(&busybox().unwrap())], json!({ "Cmd": ["echo", "second"] }));
    registry.push("team/tool", "1", &changed);
    assert_eq!(target.run(&revision).await.1, "first\n");
    assert_eq!(registry.asked(), [""; 0]);
    assert_eq!(target.run(&target.named(&registry, "team/tool:1")).await.1, "second\n");
    // One that was pinned is that one, whatever the tag means by now.
    let mut pinned = target.named(&registry, "team/tool:1");
    pinned.launch.digest = Some(first.parse().unwrap());
    assert_eq!(target.run(&pinned).await.1, "first\n");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn of_a_list_the_image_for_this_machine_is_pulled() {
    let Some((target, registry, image)) = world("mine").await else { return };
    let own = image.architecture.clone();
    let mut other = Image::new([Layer::new().file("a", 0o644, b"")], json!({ "Cmd": ["true"] }));
    other.architecture = "s390x".to_owned();
    let (mine, theirs) = (registry.push("x", "mine", &image), registry.push("x", "theirs", &other));
    registry.push_index("x", "all", &[("s390x", &theirs), (&own, &mine)]);
    registry.push_index("x", "none", &[("s390x", &theirs)]);
    assert_eq!(target.run(&target.named(&registry, "x:all")).await.1, "mine\n");
    for tag in ["none", "theirs"] {
        let why = target.refused(&target.named(&registry, &format!("x:{tag}"))).await;
        assert!(why.contains("it is for linux/s390x, and this runner is linux/"), "{why}");
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_registry_is_shown_the_login_that_the_project_has_for_it() {
    let Some((target, registry, image)) = world("private").await else { return };
    registry.push("x", "1", &image);
    for mood in [Mood::Token, Mood::Basic] {
        registry.be(mood);
        let mut revision = target.named(&registry, "x:1");
        let why = target.refused(&revision).await;
        assert!(why.contains("asks for a login: give the project one"), "{mood:?}: {why}");
        revision.login = login("wrong");
        let why = target.refused(&revision).await;
        assert!(why.contains("refuses the login of `user`"), "{mood:?}: {why}");
        revision.login = login("password");
        assert_eq!(target.run(&revision).await.1, "private\n", "{mood:?}");
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn whatever_a_registry_does_the_task_says_so_and_its_slot_is_clean() {
    let Some((target, registry, image)) = world("fine").await else { return };
    registry.push("x", "1", &image);
    let why = target.refused(&target.named(&registry, "x:2")).await;
    assert!(why.ends_with("has no such image"), "{why}");
    for (mood, said) in [
        (Mood::Busy(3600), "has answered too often (429), try again after 3600 s"),
        (Mood::Half, "broke off in the middle"),
        (Mood::Wrong, "is something else than its digest says"),
        (Mood::Silent, "does not answer in time"),
    ] {
        registry.be(mood);
        let revision = target.named(&registry, "x:1");
        let why = target.refused(&revision).await;
        assert!(why.contains(said), "{mood:?}: {why}");
        // It passes: what failed is not remembered.
        registry.be(Mood::Open);
        assert_eq!(target.run(&revision).await.1, "fine\n", "{mood:?}");
    }
    let mut nowhere = target.named(&registry, "x:1");
    nowhere.launch.image = "127.0.0.1:1/x".to_owned();
    let why = target.refused(&nowhere).await;
    assert!(why.contains("127.0.0.1:1 cannot be reached"), "{why}");
    nowhere.launch.image = "Not A Name".to_owned();
    assert!(target.refused(&nowhere).await.contains("the name of the image"));
    target.ends_unharmed().await;
}
