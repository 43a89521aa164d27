//! Packages: uploaded, changed, rolled back and paused.

use std::path::PathBuf;

use super::what::{button, css, css_with, field, heading, link, summary, text, words};
use super::{Desk, Look};

fn file(desk: &Desk, name: &str, content: &[u8]) -> PathBuf {
    let path = desk.windlass.home().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn a_package_is_uploaded_by_drag_and_drop_changed_and_rolled_back() {
    let desk = Desk::set();
    let page = desk.open();
    page.goto(&desk.path("/codes"));
    page.click(&link("New package"));
    page.attach(&css("input[type=file]"), &file(&desk, "dropped.sh", b"echo one\n"));
    page.click(&button("Upload"));
    page.see(&text("Uploaded as revision 1"));
    page.see(&heading("dropped"));
    page.drop_file(&file(&desk, "dropped.sh", b"echo two; echo three\n"), "[data-drop].over");
    page.holds("document.activeElement.matches('form[data-upload] button')");
    page.press("Enter");
    page.see(&text("Uploaded as revision 2"));
    page.click(&summary("Limits, retries, network, config"));
    page.fill(&field("Memory"), "64M");
    page.fill(&field("At once"), "2");
    page.click(&button("Change"));
    page.see(&text("Changed: revision 3"));
    page.click(&summary("Variables*"));
    page.fill(&field("Name of a new variable"), "API_KEY");
    page.fill(&field("Value of a new variable"), "open sesame");
    page.click(&button("Save variables"));
    page.see(&words("API_KEY=***"));
    page.holds("!document.documentElement.outerHTML.includes('sesame')");
    page.see(&css_with(".changes", "variable API_KEY", 0));
    page.click(&button("Roll back to revision 1"));
    page.see(&text("Rolled back: revision 5 is like revision 1"));
    page.click(&button("Pause"));
    page.see(&heading("paused"));
    page.click(&button("Resume"));
    page.see(&text("Resumed"));
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn an_upload_that_is_refused_says_why_and_loses_nothing() {
    let desk = Desk::set();
    let page = desk.open();
    page.goto(&desk.path("/codes/new"));
    page.fill(&field("Name"), "broken");
    page.attach(&css("input[type=file]"), &file(&desk, "x.zip", b"PK\x03\x04 no more"));
    page.fill(&field("Command"), "./run");
    page.click(&button("Upload"));
    page.see(&css_with("[role=alert]", "file:", 0));
    assert_eq!(page.content(&field("Command")), "./run");
    // A browser notes every answer that is no success.
    page.complains("Failed to load resource");
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn packages_are_uploaded_and_changed_without_javascript() {
    let desk = Desk::set();
    let page = desk.open_with(&Look { is_without_script: true, ..Look::default() });
    page.goto(&desk.path("/codes/new"));
    page.fill(&field("Name"), "plain");
    page.attach(&css("input[type=file]"), &file(&desk, "dropped.sh", b"echo plain\n"));
    page.click(&button("Upload"));
    page.see(&text("Uploaded as revision 1"));
    page.click(&summary("Limits, retries, network, config"));
    page.fill(&field("Retries"), "2");
    page.click(&button("Change"));
    page.see(&text("Changed: revision 2"));
    page.click(&button("Roll back to revision 1"));
    page.see(&text("Rolled back: revision 3 is like revision 1"));
}
