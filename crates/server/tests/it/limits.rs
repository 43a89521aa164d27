//! What attempts may take: from the upload to the runner.

use serde_json::json;
use windlass_model::exit::Exit;
use windlass_model::limits::{Limits, Network};
use windlass_model::runner::{Claim, ClaimRequest};
use windlass_server::Config;

use crate::server::TestServer;

#[tokio::test]
async fn limits_of_a_package_are_kept_by_revision_and_reach_the_runner() {
    let server = TestServer::start().await;
    let runner = server.runner(1).await;
    let wishes = json!({ "memory": "64M", "cpu": "0.25", "pids": 20.0, "network": "none" });
    let id = server.code("w", wishes).await;
    let shown = server.get(&format!("codes/{id}")).await.json();
    for (field, value) in [
        ("memory", json!(64 << 20)),
        ("cpu", json!(0.25)),
        ("pids", json!(20)),
        ("disk", json!(Limits::DEFAULT.disk_bytes)),
        ("open_files", json!(Limits::DEFAULT.open_files)),
        ("output", json!(Limits::DEFAULT.output_bytes)),
        ("network", json!("none")),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    // Another revision keeps what it does not name, and takes back what it sets to 0.
    server.code("w", json!({ "memory": 0, "disk": 1_048_576 })).await;
    let revisions = server.get(&format!("codes/{id}/revisions")).await.json();
    let revisions = revisions["revisions"].as_array().unwrap();
    assert_eq!((&revisions[0]["memory"], &revisions[0]["cpu"]), (&json!(64 << 20), &json!(0.25)));
    assert_eq!((&revisions[1]["memory"], &revisions[1]["cpu"]), (&json!(512 << 20), &json!(0.25)));
    server.queue(json!({ "code_name": "w" })).await;
    let claim: Claim =
        runner.call("claim", &ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None }).await;
    let expected = Limits { cpu_millis: 250, processes: 20, disk_bytes: 1 << 20, ..Limits::DEFAULT };
    assert_eq!((claim.revisions[0].limits, claim.revisions[0].network), (expected, Network::None));
}

#[tokio::test]
async fn what_is_out_of_bounds_is_refused_with_the_bound() {
    let mut config = Config::default();
    config.limits.attempts.maxima.memory_bytes = 1 << 30;
    let server = TestServer::with(config).await;
    for (field, value, said) in [
        ("memory", json!("2G"), "memory: is 2 GiB, the most is 1 GiB"),
        ("memory", json!(512), "memory: is 512 B, the least is 4 MiB"),
        ("network", json!("host"), "network: host is not allowed here; the setting network.host allows it"),
    ] {
        let answer = server.post("codes", json!({ "name": "w", "image": "i", field: value })).await;
        assert_eq!((answer.status.as_u16(), answer.json()["msg"].as_str()), (400, Some(said)));
    }
    assert_eq!(server.get("codes").await.json()["codes"], json!([]), "nothing was kept");
    let id = server.code("w", json!({ "memory": "1G" })).await;
    assert_eq!(server.get(&format!("codes/{id}")).await.json()["memory"], json!(1 << 30));
}

#[tokio::test]
async fn a_task_that_took_too_much_memory_says_so_with_limit_and_peak() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    runner.run(Exit::OutOfMemory { limit_bytes: 64 << 20, peak_bytes: (64 << 20) - 4096 }).await;
    let task = server.task(&id).await;
    assert_eq!(task["status"], "error");
    assert_eq!(task["msg"], "out of memory: the limit is 64 MiB, the peak was 63.9 MiB");
    assert_eq!(task["error_class"], "Out Of Memory");
    let attempts = server.get(&format!("tasks/{id}/attempts")).await.json();
    let attempt = &attempts["attempts"][0];
    assert_eq!(attempt["msg"], task["msg"]);
    assert_eq!(attempt["isolation"]["missing"], json!(["memory limit"]));
}
