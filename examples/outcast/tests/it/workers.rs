//! What the workers do, whatever they are written in.

use std::{collections::BTreeSet, path::PathBuf};

use outcast::{site::ZONE_COUNT, zone};
use serde_json::{Value, json};

use crate::platform::{Api, run_task, site};

/// The same worker twice: as a Rust program and as a Python one.
fn coordinators() -> [Vec<PathBuf>; 2] {
    [vec![env!("CARGO_BIN_EXE_outcast-coordinator").into()], crate::python::command("coordinator.py")]
}

fn zones() -> [Vec<PathBuf>; 2] {
    [vec![env!("CARGO_BIN_EXE_outcast-zone").into()], crate::python::command("zone.py")]
}

fn accept(request: &Value) -> Value {
    let count = request["tasks"].as_array().unwrap().len();
    let tasks: Vec<Value> = (0..count).map(|nth| json!({"id": format!("{nth:024x}")})).collect();
    json!({"msg": "Queued up", "tasks": tasks})
}

#[test]
fn the_coordinator_queues_a_task_per_zone_in_one_request() {
    let site = site();
    for command in coordinators() {
        let api = Api::start("200 OK", accept);
        let ended = run_task(&command, &json!({"site": site.url()}).to_string(), Some(api.addr));
        assert!(ended.is_success, "{}", ended.stderr);
        assert_eq!(ended.stdout, format!("queued 472 tasks of outcast-zone for {}\n", site.url()));
        assert_eq!(
            ended.result.unwrap(),
            json!({"queued": 472, "code_name": "outcast-zone", "site": site.url()})
        );

        let request = api.request();
        let head = request.head.to_lowercase();
        assert!(head.starts_with("post /2/projects/project1/tasks http/1.1\r\n"), "{head}");
        for header in
            ["authorization: oauth token1", "content-type: application/json", "idempotency-key: 5f0c0ffee"]
        {
            assert!(head.contains(&format!("{header}\r\n")), "{header} in {head}");
        }
        let tasks = request.body["tasks"].as_array().unwrap();
        let expected: Vec<&str> = site.site().zones().iter().map(|zone| zone.id.as_str()).collect();
        assert_eq!(tasks.iter().map(|task| task["label"].as_str().unwrap()).collect::<Vec<_>>(), expected);
        assert_eq!(tasks[0]["code_name"], "outcast-zone");
        let payload: Value = serde_json::from_str(tasks[0]["payload"].as_str().unwrap()).unwrap();
        assert_eq!(payload, json!({"zone": expected[0], "site": site.url()}));
    }
}

#[test]
fn a_coordinator_that_is_refused_says_so() {
    let site = site();
    for command in coordinators() {
        let api = Api::start("401 Unauthorized", |_| json!({"msg": "token is for another project"}));
        let ended = run_task(&command, &json!({"site": site.url()}).to_string(), Some(api.addr));
        assert!(!ended.is_success);
        let expected = format!(
            "outcast-coordinator: http://{}/2/projects/project1/tasks answered 401: token is for another project\n",
            api.addr
        );
        assert_eq!(ended.stderr, expected);
        assert_eq!(ended.result, None);
        api.request();
    }
}

#[test]
fn a_site_without_a_list_needs_zones_in_the_payload() {
    let site = site();
    let template = format!("{}/forecasts/{{ZONE}}.txt", site.url());
    for command in coordinators() {
        let api = Api::start("200 OK", accept);
        let payload = json!({"site": template, "zones": ["ANZ230", "anz231"], "code_name": "mine"});
        let ended = run_task(&command, &payload.to_string(), Some(api.addr));
        assert!(ended.is_success, "{}", ended.stderr);
        let tasks = &api.request().body["tasks"];
        assert_eq!((&tasks[0]["label"], &tasks[1]["label"]), (&json!("ANZ230"), &json!("ANZ231")));
        assert_eq!(tasks[1]["code_name"], "mine");

        let api = Api::start("200 OK", accept);
        let ended = run_task(&command, &json!({"site": template}).to_string(), Some(api.addr));
        assert!(!ended.is_success && ended.stderr.contains("no zones: "), "{}", ended.stderr);
    }
}

#[test]
fn a_zone_becomes_a_result_and_a_line() {
    let site = site();
    let expected = site.site().forecast("ANZ232").unwrap();
    for command in zones() {
        let payload = json!({"zone": "ANZ232", "site": site.url()}).to_string();
        let ended = run_task(&command, &payload, None);
        assert!(ended.is_success, "{}", ended.stderr);
        assert_eq!(ended.result.unwrap(), serde_json::to_value(&expected).unwrap());
        assert!(
            ended.stdout.starts_with("ANZ232 Nantucket Sound: 7 periods, good until 2026-11-25T"),
            "{}",
            ended.stdout
        );
        assert_eq!(ended.stdout.lines().count(), 1);
    }
}

#[test]
fn a_bad_zone_says_what_was_wrong_and_exits_with_1() {
    let site = site();
    for (zone, fault) in site.site().expected_failures() {
        let messages = zones().map(|command| {
            let ended = run_task(&command, &json!({"zone": zone, "site": site.url()}).to_string(), None);
            assert!(!ended.is_success && ended.result.is_none(), "{zone} {fault:?}");
            assert!(ended.stderr.contains(zone), "{}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            ended.stderr
        });
        assert_eq!(messages[0], messages[1], "{fault:?}");
    }
}

#[test]
fn a_payload_without_a_zone_is_refused() {
    for command in zones() {
        let ended = run_task(&command, r#"{"site":"http://127.0.0.1:1"}"#, None);
        assert!(!ended.is_success);
        assert_eq!(ended.stderr, "outcast-zone: bad payload: missing field `zone`\n");
    }
}

#[test]
fn a_whole_run_fails_and_retries_as_the_site_expects() {
    let site = site();
    let run = |zone: &str| {
        let order = json!({"zone": zone, "site": site.url()});
        zone::run(&serde_json::from_value(order).unwrap())
    };
    let mut waiting: Vec<&str> = site.site().zones().iter().map(|zone| zone.id.as_str()).collect();
    let mut failed_per_round = Vec::new();
    // One attempt and two retries, as the packages are uploaded.
    for _ in 0..3 {
        waiting.retain(|zone| run(zone).is_err());
        failed_per_round.push(waiting.len());
    }
    let bad: BTreeSet<&str> = site.site().expected_failures().into_iter().map(|(zone, _)| zone).collect();
    assert_eq!(waiting.into_iter().collect::<BTreeSet<_>>(), bad);
    assert_eq!(failed_per_round, [bad.len() + 4, bad.len() + 2, bad.len()]);
    assert_eq!(site.site().zones().len(), ZONE_COUNT);
}

#[test]
fn a_page_for_another_zone_is_refused() {
    let site = site();
    // A template that leads to the same page whatever the zone.
    let stuck = format!("{}/forecasts/ANZ232.txt?{{zone}}", site.url());
    for command in zones() {
        let ended = run_task(&command, &json!({"zone": "ANZ230", "site": stuck}).to_string(), None);
        assert!(!ended.is_success);
        assert!(ended.stderr.ends_with("anz230: a forecast for ANZ232 instead\n"), "{}", ended.stderr);
    }
}
