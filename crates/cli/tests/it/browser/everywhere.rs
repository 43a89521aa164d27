//! What holds on every page: by keyboard, without JavaScript, on a phone, in the dark, for everybody.

use super::what::{button, css, field, heading, text};
use super::{Desk, Look};

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn the_keyboard_goes_everywhere() {
    let desk = Desk::set();
    let id = desk.ended("by keyboard");
    let page = desk.open();
    page.press("g");
    page.press("t");
    page.address_ends("/tasks");
    page.press("/");
    page.enter("by keyboard");
    page.press("Enter");
    page.address_has("text=by");
    page.press("j");
    page.press("x");
    assert!(page.is_ticked(&css(&format!("tr[data-row='{id}'] input"))));
    page.press("Enter");
    page.address_has(&id);
    page.press("?");
    page.see(&heading("Keys and words"));
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn everything_works_without_javascript() {
    let desk = Desk::set();
    let page = desk.open_with(&Look { is_without_script: true, ..Look::default() });
    page.goto(&desk.path("/queue"));
    page.fill(&field("Payload"), "no script");
    page.click(&button("Queue"));
    page.address_has("/tasks/");
    let id = page.address().rsplit('/').next().unwrap().to_owned();
    desk.status_is(&id, "complete");
    page.reload();
    page.see(&heading("complete"));
    page.see(&text("begin no script"));
    page.click(&button("Retry"));
    page.see(&text("Queued again, as a new task"));
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn a_project_is_made_and_the_switcher_leads_back() {
    let desk = Desk::set();
    let page = desk.open();
    page.goto("/projects");
    page.fill(&field("Name"), "reports");
    page.click(&button("Make a project"));
    page.see(&text("Made the project reports"));
    page.see(&heading("The first task"));
    page.click(&css(".menu.project summary"));
    page.click(&css(&format!(".menu.project a[href='{}']", desk.base)));
    page.address_ends(&desk.base);
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn every_page_can_be_used_by_everybody_and_fits_a_phone() {
    every_page(false);
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn every_page_can_be_used_by_everybody_and_fits_a_phone_in_the_dark() {
    every_page(true);
}

fn every_page(is_dark: bool) {
    /// What axe finds that keeps people from using a page: its rule and the first place.
    const SERIOUS: &str = "axe.run().then(({ violations }) => violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 160)}`))";
    let axe = std::env::var("WINDLASS_TEST_AXE").expect("tests/browser/run says where axe is");
    let axe = std::fs::read_to_string(axe).unwrap() + ";null";
    let desk = Desk::set();
    let task = desk.ended("fail for the record");
    let codes = desk.windlass.json(&["codes", "list"]);
    let code = codes.pointer("/codes/0/id").or_else(|| codes.pointer("/0/id")).unwrap().as_str().unwrap();
    let (task, code) = (format!("/tasks/{task}"), format!("/codes/{code}"));
    let pages =
        ["", "/tasks", &task, "/codes", &code, "/codes/new", "/schedules", "/schedules/new", "/runners"];
    let page = desk.open_with(&Look { is_dark, is_without_policy: true, ..Look::default() });
    assert_eq!(page.value("matchMedia('(prefers-color-scheme: dark)').matches"), is_dark);
    for path in pages.into_iter().chain(["/tokens", "/queue"]) {
        page.goto(&desk.path(path));
        page.value(&axe);
        assert_eq!(page.value(SERIOUS), serde_json::json!([]), "{path}");
        page.wide(390);
        let over = page.value("document.documentElement.scrollWidth - innerWidth").as_i64().unwrap();
        assert!(over <= 0, "{path} is {over} pixels too wide for a phone");
        page.wide(1280);
    }
}

#[test]
#[ignore = "needs Chromium: tests/browser/run"]
fn what_a_page_must_not_do_is_seen() {
    let desk = Desk::set();
    let page = desk.open();
    page.value("{ document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' })); }");
    page.complains("Content Security Policy");
    assert!(page.value("window.ran ?? null").is_null());
    page.value("console.error('not good')");
    page.complains("not good");
    page.value("void setTimeout(() => { throw new Error('not caught') })");
    page.complains("not caught");
    drop(page);
    let page = desk.open_with(&Look { is_without_policy: true, ..Look::default() });
    page.value("{ new Image().src = 'http://127.0.0.1:65535/elsewhere'; }");
    page.complains("asked http://127.0.0.1:65535/elsewhere");
    page.complains("Failed to load resource");
}
