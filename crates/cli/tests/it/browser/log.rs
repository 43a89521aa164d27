//! The log of a task: paused, searched and pointed at.

use super::Desk;
use super::what::{button, css, css_with, field, heading, text};

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn a_log_is_paused_searched_and_pointed_at() {
    let desk = Desk::set();
    let id = desk.queue("wait and be read");
    let page = desk.open();
    page.goto(&desk.path(&format!("/tasks/{id}")));
    page.see(&css_with("[role=log] .c2", "tick", 1));
    page.click(&button("Pause"));
    page.see(&button("Resume*"));
    let lines = page.count("[role=log] .l");
    page.holds("/^Resume \\([1-9]/.test(document.querySelector('[data-pause]').textContent)");
    assert_eq!(page.count("[role=log] .l"), lines, "nothing was added meanwhile");
    page.click(&button("Resume*"));
    page.holds(&format!("document.querySelectorAll('[role=log] .l').length > {lines}"));
    page.fill(&field("Find in the log"), "be read");
    page.see(&text("1 of 1"));
    page.see(&css_with("[role=log] .hit", "be read", 0));
    page.click(&css("#L1 > a"));
    page.address_ends("?attempt=1&line=1#L1");
    let place = page.address();
    page.click(&button("Cancel"));
    page.see(&heading("cancelled"));
    page.goto(&desk.base);
    page.goto(place.strip_prefix(&desk.windlass.url).unwrap());
    page.see(&css("#L1:target"));
    page.see(&css(".timeline .is-cancelled"));
}
