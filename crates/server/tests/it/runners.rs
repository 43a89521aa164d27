//! The runner protocol: claims that wait, heartbeats that carry news, late reports, runners that vanish.

use std::time::Duration;

use http::Method;
use serde_json::json;
use windlass_model::exit::Exit;
use windlass_model::runner::{
    Assignment, Claim, ClaimRequest, Finish, FinishAnswer, Heartbeat, HeartbeatAnswer, Held, HostLoad,
    Release, Report,
};
use windlass_server::loops::rescuer;

use crate::hud::Browser;
use crate::server::{TestRunner, TestServer, held, report};

const LIMIT: Duration = Duration::from_secs(10);

impl TestRunner<'_> {
    async fn beat(&self, holds: Vec<Held>, wait_ms: u64) -> HeartbeatAnswer {
        self.call("heartbeat", &Heartbeat { holds, wait_ms, load: None }).await
    }

    async fn claim_idle(&self) -> Vec<Assignment> {
        self.call::<_, Claim>("claim", &ClaimRequest { want: 1, wait_ms: 0, is_idle: true, load: None })
            .await
            .tasks
    }

    async fn wait_for_tasks(&self, want: u32) -> Claim {
        self.call("claim", &ClaimRequest { want, wait_ms: 60_000, is_idle: false, load: None }).await
    }
}

/// Lets other tasks run until they wait for something.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_claim_waits_for_the_first_task() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let runner = server.runner(4).await;
    let (claim, id) = tokio::time::timeout(LIMIT, async {
        tokio::join!(runner.wait_for_tasks(4), async {
            settle().await;
            server.queue(json!({ "code_name": "w" })).await
        })
    })
    .await
    .unwrap();
    assert_eq!(claim.tasks.len(), 1);
    assert_eq!(claim.tasks[0].task.to_string(), id);
    assert_eq!(claim.revisions[0].code_name, "w");
}

#[tokio::test]
async fn wake_ups_spread_as_far_as_there_is_work() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let runner = server.runner(4).await;
    let claims =
        async { tokio::join!(runner.wait_for_tasks(1), runner.wait_for_tasks(1), runner.wait_for_tasks(1)) };
    let (claims, _) = tokio::time::timeout(LIMIT, async {
        tokio::join!(claims, async {
            settle().await;
            let three = vec![json!({ "code_name": "w" }); 3];
            server.post("tasks", json!({ "tasks": three })).await
        })
    })
    .await
    .unwrap();
    assert_eq!([claims.0, claims.1, claims.2].map(|c| c.tasks.len()), [1, 1, 1]);
}

#[tokio::test]
async fn a_claim_takes_only_its_cluster_and_ends_when_the_time_is_up() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    server.queue(json!({ "code_name": "w", "cluster": "gpu" })).await;
    let runner = server.runner(1).await;
    let none: Claim =
        runner.call("claim", &ClaimRequest { want: 1, wait_ms: 20, is_idle: false, load: None }).await;
    assert_eq!(none, Claim::default());
    assert_eq!(server.runner_in("gpu", 1).await.claim(1).await.len(), 1);
}

#[tokio::test]
async fn a_stop_answers_those_who_wait() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w", "cluster": "gpu" })).await;
    let runner = server.runner(1).await;
    let path = format!("tasks/{id}?wait=60");
    let waiting =
        async { tokio::join!(runner.wait_for_tasks(1), server.get(&path), runner.beat(vec![], 60_000)) };
    let (answers, ()) = tokio::time::timeout(LIMIT, async {
        tokio::join!(waiting, async {
            settle().await;
            server.app.stopping.cancel();
        })
    })
    .await
    .unwrap();
    assert_eq!((answers.0.tasks.len(), answers.1.json()["status"].as_str()), (0, Some("queued")));
    let ready = server.call(Method::GET, "/health/ready", "", None).await;
    assert_eq!(ready.said(), (503, "stopping".to_owned()));
}

#[tokio::test]
async fn whoever_waits_for_a_task_hears_of_its_end_at_once() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let path = format!("tasks/{id}?wait=60");
    let (answer, _) = tokio::time::timeout(LIMIT, async {
        tokio::join!(server.get(&path), async {
            settle().await;
            runner.run(Exit::Code(0)).await
        })
    })
    .await
    .unwrap();
    assert_eq!(answer.json()["status"], "complete");
    let early = server.queue(json!({ "code_name": "w" })).await;
    let answer = server.get(&format!("tasks/{early}?wait=0.02")).await.json();
    assert_eq!(answer["status"], "queued", "when the time is up, as it is");
    assert_eq!(server.get(&format!("tasks/{early}?wait=soon")).await.status, 400);
}

#[tokio::test]
async fn a_cancel_reaches_the_runner_through_its_waiting_heartbeat() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    let (answer, _) = tokio::time::timeout(LIMIT, async {
        tokio::join!(runner.beat(vec![held(&task)], 60_000), async {
            settle().await;
            server.post(&format!("tasks/{id}/cancel"), json!({})).await
        })
    })
    .await
    .unwrap();
    assert_eq!(answer.cancel, [held(&task)]);
    // It is killing the process now; the next one waits again, and still lists what is to be cancelled.
    let again = runner.beat(vec![held(&task)], 20).await;
    assert_eq!(again.cancel, [held(&task)]);
    assert_eq!(server.status(&id).await, "running", "until its process is dead");
    runner.finish(vec![report(&task, Exit::Cancelled)]).await;
    let shown = server.task(&id).await;
    assert_eq!((&shown["status"], &shown["msg"]), (&json!("cancelled"), &json!("Cancelled via API.")));
}

#[tokio::test]
async fn drain_reaches_claims_and_heartbeats_that_wait() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let runner = server.runner(1).await;
    let path = format!("/2/runners/{}/drain", runner.id);
    let waiting = async { tokio::join!(runner.wait_for_tasks(1), runner.beat(vec![], 60_000)) };
    let ((claim, beat), said) = tokio::time::timeout(LIMIT, async {
        tokio::join!(waiting, async {
            settle().await;
            server.call(Method::POST, &path, &server.admin, None).await.said()
        })
    })
    .await
    .unwrap();
    assert_eq!((claim.drain, beat.drain, said), (true, true, (200, "Draining".to_owned())));
    server.queue(json!({ "code_name": "w" })).await;
    assert_eq!(runner.claim(1).await.len(), 0);
    let runners = server.call(Method::GET, "/2/runners", &server.admin, None).await.json();
    assert_eq!(runners["runners"][0]["status"], "draining");
    let said = server.call(Method::POST, &path, &server.admin, Some(json!({ "drain": false }))).await.said();
    assert_eq!(said, (200, "Resumed".to_owned()));
    assert_eq!(runner.claim(1).await.len(), 1);
}

#[tokio::test]
async fn a_report_and_the_next_claim_are_one_call() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    for _ in 0..2 {
        server.queue(json!({ "code_name": "w" })).await;
    }
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    let claim = Some(ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None });
    let answer: FinishAnswer =
        runner.call("finish", &Finish { reports: vec![report(&task, Exit::Code(0))], claim }).await;
    assert_eq!((answer.lost.len(), answer.claim.tasks.len()), (0, 1));
    let answer: FinishAnswer = runner
        .call("finish", &Finish { reports: vec![report(&answer.claim.tasks[0], Exit::Code(0))], claim })
        .await;
    assert_eq!(answer, FinishAnswer::default(), "no more work, and no wait for it");
}

#[tokio::test]
async fn a_failure_is_retried_and_its_message_is_the_end_of_stderr() {
    let server = TestServer::start().await;
    server.code("w", json!({ "retries": 1, "retries_delay": 5 })).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let boom = || windlass_model::bytes::Bytes(b"hello.rb:7: boom (RuntimeError)\n".to_vec());
    let task = runner.claim_one().await;
    runner.finish(vec![Report { stderr_tail: boom(), ..report(&task, Exit::Code(1)) }]).await;
    let shown = server.task(&id).await;
    assert_eq!((&shown["status"], &shown["retry_count"]), (&json!("queued"), &json!(1)));
    assert_eq!(runner.claim(1).await.len(), 0, "not before its delay");
    server.advance(Duration::from_secs(6));
    server.app.store.promote(server.app.now()).await.unwrap();
    let task = runner.claim_one().await;
    assert_eq!((task.attempt, task.task.to_string()), (2, id.clone()));
    runner.finish(vec![Report { stderr_tail: boom(), ..report(&task, Exit::Code(1)) }]).await;
    let shown = server.task(&id).await;
    assert_eq!(
        (&shown["status"], &shown["msg"], &shown["error_class"], &shown["run_times"]),
        (&json!("error"), &json!("hello.rb:7: boom (RuntimeError)\n"), &json!("Process Exit 1"), &json!(2))
    );
    let timed_out = server.queue(json!({ "code_name": "w", "retries": 0 })).await;
    runner.run(Exit::TimedOut).await;
    let shown = server.task(&timed_out).await;
    assert_eq!((&shown["status"], &shown["msg"]), (&json!("timeout"), &json!("Job timed out.")));
}

#[tokio::test]
async fn a_silent_runner_loses_its_tasks_and_its_late_report_is_refused() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    server.advance(Duration::from_secs(31));
    rescuer::run_once(&server.app, server.app.now()).await.unwrap();
    assert_eq!(server.status(&id).await, "queued");
    let late =
        runner.raw("finish", &Finish { reports: vec![report(&task, Exit::Code(0))], claim: None }).await;
    assert_eq!(late.status, 404, "its session is over");

    let other = server.runner(1).await;
    let again = other.claim_one().await;
    assert_eq!((again.task, again.attempt), (task.task, 2));
    let lost = other.finish(vec![report(&task, Exit::Code(0)), report(&again, Exit::Code(3))]).await.lost;
    assert_eq!(lost, [held(&task)], "the old attempt cannot report, whoever tries");
    assert_eq!(server.status(&id).await, "error");
}

#[tokio::test]
async fn attempts_whose_answer_never_arrived_are_given_back() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    let task = runner.claim_one().await;
    // The answer is lost on the way: the runner goes on without it.
    for _ in 0..2 {
        assert_eq!(runner.beat(vec![], 0).await, HeartbeatAnswer::default());
        server.advance(Duration::from_secs(15));
    }
    runner.beat(vec![], 0).await;
    assert_eq!(server.status(&id).await, "queued");
    let again = runner.claim_one().await;
    assert_eq!(again.task, task.task);
    assert!(again.fence > task.fence);
}

#[tokio::test]
async fn a_runner_that_only_waits_for_work_keeps_its_session() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let runner = server.runner(1).await;
    for _ in 0..5 {
        server.advance(Duration::from_secs(20));
        rescuer::run_once(&server.app, server.app.now()).await.unwrap();
        assert_eq!(runner.claim(1).await, []);
    }
    // Also one whose answer is lost while it holds nothing gets its task back in time.
    let id = server.queue(json!({ "code_name": "w" })).await;
    let lost = runner.claim_one().await;
    server.advance(Duration::from_secs(20));
    assert_eq!(runner.claim_idle().await, []);
    server.advance(Duration::from_secs(20));
    assert_eq!(runner.claim_idle().await[0].task, lost.task);
    assert_eq!(server.task(&id).await["run_times"], 2);
}

#[tokio::test]
async fn a_runner_may_call_any_server_of_a_store() {
    let mut other = TestServer::start().await;
    other.code("w", json!({})).await;
    let id = other.queue(json!({ "code_name": "w" })).await;
    let server = other.take_over().await;
    // Handed out by one, named to the other only.
    let here = server.runner(2).await;
    let there = other.runner_of(here.id);
    let task = here.claim_one().await;
    for _ in 0..4 {
        there.beat(vec![held(&task)], 0).await;
        server.advance(Duration::from_secs(15));
        // The first may not take it for lost, as the runner does not say that it holds nothing.
        assert_eq!(here.claim(1).await, []);
    }
    assert_eq!(here.beat(vec![held(&task)], 0).await, HeartbeatAnswer::default());
    assert_eq!(other.status(&id).await, "running");
    assert_eq!(there.finish(vec![report(&task, Exit::Code(0))]).await.lost, []);
    here.beat(vec![], 0).await;
    let ended = server.task(&id).await;
    assert_eq!((&ended["status"], &ended["run_times"]), (&json!("complete"), &json!(1)));
}

#[tokio::test]
async fn runners_whom_nobody_could_hear_get_their_time_when_the_server_is_back() {
    let mut server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let (lives, dead) = (server.runner(1).await.id, server.runner_in("other", 1).await.id);
    let task = server.runner_of(lives).claim_one().await;
    server.advance(Duration::from_secs(3600));
    server.take_over().await;
    for after in [0, 29] {
        server.advance(Duration::from_secs(after));
        let next = rescuer::run_once(&server.app, server.app.now()).await.unwrap();
        assert!(next.is_some_and(|at| at > server.app.now()));
    }
    let lives = server.runner_of(lives);
    assert_eq!(lives.beat(vec![held(&task)], 0).await, HeartbeatAnswer::default());
    server.advance(Duration::from_secs(2));
    rescuer::run_once(&server.app, server.app.now()).await.unwrap();
    assert_eq!(server.status(&id).await, "running");
    assert_eq!(lives.finish(vec![report(&task, Exit::Code(0))]).await.lost, []);
    let silent = server
        .runner_of(dead)
        .raw("claim", &ClaimRequest { want: 1, wait_ms: 0, is_idle: true, load: None })
        .await;
    assert_eq!(silent.status, 404, "who was not heard meanwhile is gone");
}

#[tokio::test]
async fn a_claim_whose_runner_hung_up_holds_nothing() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let runner = server.runner(1).await;
    let hung_up = tokio::time::timeout(Duration::from_millis(20), runner.wait_for_tasks(1)).await;
    assert!(hung_up.is_err());
    settle().await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    settle().await;
    assert_eq!(server.status(&id).await, "queued");
    assert_eq!(runner.claim(1).await.len(), 1);
}

#[tokio::test]
async fn a_runner_that_leaves_gives_everything_back() {
    let server = TestServer::start().await;
    server.code("w", json!({})).await;
    let id = server.queue(json!({ "code_name": "w" })).await;
    let runner = server.runner(1).await;
    runner.claim_one().await;
    assert_eq!(runner.raw("release", &Release { holds: vec![], leave: true }).await.status, 200);
    assert_eq!(server.status(&id).await, "queued");
    assert_eq!(
        runner.raw("claim", &ClaimRequest { want: 1, wait_ms: 0, is_idle: false, load: None }).await.status,
        404
    );
    let clusters = server.call(Method::GET, "/2/clusters/default", &server.admin, None).await.json();
    assert_eq!(clusters["cluster"]["runners_total"], 0);
}

#[tokio::test]
async fn a_concurrency_limit_holds() {
    let server = TestServer::start().await;
    server.code("w", json!({ "max_concurrency": 2 })).await;
    server.post("tasks", json!({ "tasks": vec![json!({ "code_name": "w" }); 5] })).await;
    let runner = server.runner(10).await;
    let tasks = runner.claim(10).await;
    assert_eq!(tasks.len(), 2);
    runner.finish(vec![report(&tasks[0], Exit::Code(0))]).await;
    assert_eq!(runner.claim(10).await.len(), 1);
}

#[tokio::test]
async fn how_busy_a_host_is_is_shown_while_it_is_news() {
    let server = TestServer::start().await;
    let runner = server.runner(2).await;
    let list = async || {
        server.call(Method::GET, "/2/runners", &server.admin, None).await.json()["runners"][0].clone()
    };
    assert_eq!(list().await.get("load"), None, "an older runner does not say");
    let load =
        HostLoad { load_millis: 1250, processors: 8, memory_used_bytes: 3 << 30, memory_bytes: 16 << 30 };
    let beat = Heartbeat { holds: vec![], wait_ms: 0, load: Some(load) };
    runner.call::<_, HeartbeatAnswer>("heartbeat", &beat).await;
    assert_eq!(list().await["load"], json!(load));
    let browser = Browser::with(&server, &server.admin).await;
    let html = browser.page(&format!("/p/{}/runners", server.project)).await;
    assert!(html.contains("1.25 / 8") && html.contains("3.0 GiB / 16 GiB"), "{html}");

    server.advance(server.app.config.lease_ttl + Duration::from_millis(1));
    assert_eq!(list().await.get("load"), None);
    let load = HostLoad { load_millis: 20, ..load };
    let claim = ClaimRequest { want: 1, wait_ms: 0, is_idle: true, load: Some(load) };
    runner.call::<_, Claim>("claim", &claim).await;
    assert_eq!(list().await["load"], json!(load), "one that holds nothing says so when it asks for work");
}
