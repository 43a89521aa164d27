//! Schedules: made, changed, paused, resumed and ended.

use super::Desk;
use super::what::{button, field, heading, summary, text, words};

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn a_schedule_is_made_changed_and_ended() {
    let desk = Desk::set();
    let page = desk.open();
    page.goto(&desk.path("/schedules/new"));
    page.fill(&field("Name"), "often");
    page.fill(&field("Every"), "600");
    page.click(&button("Make it"));
    page.see(&heading("often"));
    page.click(&summary("Change it"));
    page.fill(&field("Every"), "7200");
    page.click(&button("Change"));
    page.see(&words("2 h"));
    page.click(&button("End it"));
    page.see(&heading("cancelled"));
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn a_schedule_is_paused_and_resumed() {
    let desk = Desk::set();
    let page = desk.open();
    page.goto(&desk.path("/schedules/new"));
    page.fill(&field("Name"), "rested");
    page.fill(&field("Every"), "3600");
    page.click(&button("Make it"));
    page.see(&heading("rested"));
    page.click(&button("Pause"));
    page.see(&text("It is paused."));
    page.click(&button("Resume"));
    page.see(&button("Pause"));
    page.see_no(&text("It is paused."));
}
