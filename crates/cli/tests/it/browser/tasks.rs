//! Tasks: queued by a form, seen to their end, found and changed, one and many.

use std::time::Instant;

use super::Desk;
use super::what::{button, css, css_with, field, heading, link, text, words};

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn a_task_is_queued_by_the_form_and_seen_to_its_end_without_reloading() {
    let desk = Desk::set();
    let page = desk.open();
    page.click(&link("Tasks"));
    page.click(&link("Queue a task"));
    page.fill(&field("Payload"), "go and end well");
    page.click(&button("Queue"));
    page.see(&heading("complete"));
    page.see(&text("\"ok\": true"));
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn a_running_task_is_watched_and_cancelled() {
    let desk = Desk::set();
    let page = desk.open();
    page.click(&link("Tasks"));
    page.click(&link("Queue a task"));
    page.fill(&field("Payload"), "wait for the test");
    page.click(&button("Queue"));
    page.see(&heading("running"));
    let documents = page.documents();
    page.see(&css_with("[role=log] .l", "begin wait for the test", 0));
    page.see(&css_with("[role=log] .c2", "tick", 3));
    assert_eq!(page.documents(), documents, "it was swapped, not reloaded");
    page.click(&button("Cancel"));
    page.see(&heading("cancelled"));
    page.see_no(&button("Cancel"));
    page.see(&css_with("[role=log] .c2", "tick", 3));
    let id = page.address().rsplit('/').next().unwrap().to_owned();
    desk.status_is(&id, "cancelled");
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn changes_reach_pages_that_are_open_at_once() {
    let desk = Desk::set();
    let page = desk.open();
    page.goto(&desk.path("/tasks"));
    page.is_live();
    let documents = page.documents();
    let id = desk.queue("live");
    let queued_at = Instant::now();
    page.see(&css(&format!("tr[data-row='{id}']")));
    let took = queued_at.elapsed();
    page.see(&css(&format!("tr[data-row='{id}'] .is-complete")));
    assert_eq!(page.documents(), documents, "it was swapped, not reloaded");
    // The promise of 300 ms is for a machine that does nothing else.
    assert!(took.as_secs() < 3, "the first update took {took:?}");
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn a_failure_says_why_and_is_retried_with_another_payload() {
    let desk = Desk::set();
    let id = desk.ended("fail please");
    let page = desk.open();
    page.goto(&desk.path(&format!("/tasks/{id}")));
    page.see(&text("this went wrong"));
    page.see(&words("exit 3"));
    page.click(&link("Retry, changed…"));
    page.fill(&field("Payload"), "better");
    page.click(&button("Queue"));
    page.see(&heading("complete"));
    page.see(&text("\"ok\": true"));
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn many_are_filtered_counted_and_retried() {
    let desk = Desk::set();
    for n in 1..=3 {
        desk.ended(&format!("fail many {n}"));
    }
    desk.ended("fail alone");
    let page = desk.open();
    page.goto(&desk.path("/tasks"));
    page.click(&css("label.pill.is-error"));
    page.address_has("error=1");
    page.fill(&field("Text"), "many");
    page.click(&button("Filter"));
    page.address_has("text=many");
    page.counts("tbody tr", 3);
    page.click(&field("Select all on this page"));
    page.click(&button("Retry ticked"));
    page.see(&text("3 tasks queued again"));
    page.goto(&desk.path("/tasks?error=1"));
    page.click(&button("Retry everything that matches…"));
    page.see(&heading(" to retry"));
    page.click(&link("Leave them"));
    page.see(&heading("Tasks"));
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn tasks_are_found_by_label_package_and_time() {
    let desk = Desk::set();
    desk.windlass.upload("other", "echo other", &[]);
    let labelled = desk.windlass.queue("worker", &["--label", "nightly"]);
    let plain = desk.queue("plain");
    let others = desk.windlass.queue("other", &[]);
    for id in [&labelled, &plain, &others] {
        desk.status_is(id, "complete");
    }
    let page = desk.open();
    let only = |id: &str| {
        page.see(&css(&format!("tr[data-row='{id}']")));
        page.counts("tbody tr", 1);
    };
    page.goto(&desk.path("/tasks"));
    page.counts("tbody tr", 3);
    page.fill(&field("Label"), "nightly");
    page.press("Enter");
    page.address_has("label=nightly");
    only(&labelled);
    page.click(&link("Clear"));
    page.counts("tbody tr", 3);
    page.choose(&field("Package"), "o");
    page.address_has("code_name=other");
    only(&others);
    page.click(&link("Clear"));
    page.counts("tbody tr", 3);
    page.set(&field("Queued from"), "2001-01-01T00:00");
    page.click(&button("Filter"));
    page.address_has("from=2001");
    page.counts("tbody tr", 3);
    page.set(&field("to, UTC"), "2001-01-02T00:00");
    page.click(&button("Filter"));
    page.see(&text("Nothing matches."));
    page.counts("tbody tr", 0);
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn everything_that_matches_is_cancelled() {
    let desk = Desk::set();
    let label = ["--label", "unwanted", "--payload"];
    let queue = |payload: &str| desk.windlass.queue("worker", &[&label[..], &[payload]].concat());
    let unwanted = ["wait a", "wait b", "wait c"].map(queue);
    let wanted = desk.queue("wait, too");
    let page = desk.open();
    page.goto(&desk.path("/tasks?label=unwanted"));
    page.counts("tbody tr", 3);
    page.click(&button("Cancel everything that matches…"));
    page.see(&heading("3 to cancel"));
    page.click(&button("Cancel them"));
    page.see(&text("3 tasks cancelled"));
    page.counts("tbody .is-cancelled", 3);
    for id in &unwanted {
        desk.status_is(id, "cancelled");
    }
    let wanted = desk.windlass.task(&wanted);
    assert!(wanted["status"] == "running" || wanted["status"] == "queued", "{wanted}");
}
