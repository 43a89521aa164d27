//! One tab, as a person uses it. Whatever is asked for is waited for; nothing sleeps.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::chromium::{Ask, Chromium};
use super::what::{What, first};
use crate::windlass::{LIMIT, Windlass};

/// A network interface that comes or goes on this machine interrupts whatever a browser is loading.
const INTERRUPTED: &str = "net::ERR_NETWORK_CHANGED";

/// How a tab differs from that of most people.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) is_dark: bool,
    pub(crate) is_without_script: bool,
    /// Lets a test add a script to the page that its policy would refuse.
    pub(crate) is_without_policy: bool,
}

/// A tab with cookies of its own. When it is dropped, it must have complained of nothing and asked no other server for
/// anything; if the test failed, it tells what was to be seen.
pub(crate) struct Page<'a> {
    chromium: &'a Chromium,
    windlass: &'a Windlass,
    session: String,
    seen: RefCell<Seen>,
}

#[derive(Default)]
struct Seen {
    complaints: Vec<String>,
    /// Documents that were shown.
    documents: usize,
    /// Event streams that the one shown has opened.
    streams: usize,
    /// What the page is made of did not arrive: it has to be loaded again.
    is_interrupted: bool,
}

impl<'a> Page<'a> {
    pub(crate) fn open(chromium: &'a Chromium, windlass: &'a Windlass, look: &Look) -> Self {
        let ask = |method: &str, params: Value| chromium.call("", &[(method, params)]).unwrap();
        let context = ask("Target.createBrowserContext", json!({}))["browserContextId"].clone();
        let target = ask("Target.createTarget", json!({"url": "about:blank", "browserContextId": context}));
        let session = ask("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        let session = session["sessionId"].as_str().unwrap().to_owned();
        let page = Self { chromium, windlass, session, seen: RefCell::default() };
        for domain in ["Page", "Network", "Log", "Runtime", "DOM"] {
            page.ask(&format!("{domain}.enable"), json!({}));
        }
        let theme = if look.is_dark { "dark" } else { "light" };
        let theme = json!([{"name": "prefers-color-scheme", "value": theme}]);
        page.ask("Emulation.setEmulatedMedia", json!({"features": theme}));
        page.ask("Emulation.setScriptExecutionDisabled", json!({"value": look.is_without_script}));
        page.ask("Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        page.ask("Page.setBypassCSP", json!({"enabled": look.is_without_policy}));
        page.wide(1280);
        page
    }

    /// Makes the window this many pixels wide.
    pub(crate) fn wide(&self, width: u32) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// Loads a page of the server, completely: its script has run.
    pub(crate) fn goto(&self, path: &str) {
        let url = format!("{}{path}", self.windlass.url);
        self.until(&format!("{path} to load"), || {
            // It fails if it was interrupted, also by another page that was on its way.
            self.ask("Page.navigate", json!({"url": url})).get("errorText").is_none().then_some(())
        });
        self.is_there();
    }

    /// Loads the page again.
    pub(crate) fn reload(&self) {
        let before = self.documents();
        self.ask("Page.reload", json!({}));
        self.until("the page to load again", || (self.documents() > before).then_some(()));
    }

    /// How many documents were shown so far: a page that changed and is the same one was not reloaded.
    pub(crate) fn documents(&self) -> usize {
        self.look_around();
        self.seen.borrow().documents
    }

    /// Waits until the page hears of changes.
    pub(crate) fn is_live(&self) {
        self.until("the stream of changes", || {
            self.look_around();
            (self.seen.borrow().streams > 0).then_some(())
        });
    }

    pub(crate) fn address(&self) -> String {
        self.value("location.href").as_str().unwrap_or_default().to_owned()
    }

    /// Waits for a page, whole, whose address ends so.
    pub(crate) fn address_ends(&self, end: &str) {
        self.holds(&format!("location.href.endsWith({}) && document.readyState === 'complete'", json!(end)));
    }

    /// Waits for a page, whole, with that in its address.
    pub(crate) fn address_has(&self, part: &str) {
        self.holds(&format!("location.href.includes({}) && document.readyState === 'complete'", json!(part)));
    }

    /// Waits until that is to be seen.
    pub(crate) fn see(&self, what: &What) {
        self.until(&format!("{what:?}"), || self.find(what));
    }

    /// Waits until that is to be seen no more.
    pub(crate) fn see_no(&self, what: &What) {
        self.until(&format!("no {what:?}"), || {
            (self.find_now(what).is_none() && self.is_whole()).then_some(())
        });
    }

    /// How many things fit a selector now.
    pub(crate) fn count(&self, selector: &str) -> u64 {
        let all = format!("document.querySelectorAll({}).length", json!(selector));
        self.until(&format!("a number of {selector}"), || self.value(&all).as_u64())
    }

    /// Waits until there are that many.
    pub(crate) fn counts(&self, selector: &str, number: u64) {
        self.until(&format!("{number} times {selector}"), || (self.count(selector) == number).then_some(()));
    }

    /// Waits until `is_so` holds in the page: an expression of JavaScript.
    pub(crate) fn holds(&self, is_so: &str) {
        self.until(is_so, || (self.value(is_so) == true).then_some(()));
    }

    /// What an expression of JavaScript comes to; null also while no page is there.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let Ok(answer) = self.call(&[("Runtime.evaluate", ask)]) else { return Value::Null };
        assert!(answer.get("exceptionDetails").is_none(), "{expression:.200}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Clicks on the middle of it.
    pub(crate) fn click(&self, what: &What) {
        self.until(&format!("{what:?} to click on"), || {
            let node = self.find(what)?;
            self.call(&[("DOM.scrollIntoViewIfNeeded", node.clone())]).ok()?;
            let quads = self.call(&[("DOM.getContentQuads", node)]).ok()?;
            let quad: Vec<f64> =
                quads["quads"].get(0)?.as_array()?.iter().filter_map(Value::as_f64).collect();
            let (x, y) = ((quad[0] + quad[4]) / 2.0, (quad[1] + quad[5]) / 2.0);
            let event = |kind: &str, button: &str| {
                let event = json!({"type": kind, "x": x, "y": y, "button": button, "clickCount": 1});
                ("Input.dispatchMouseEvent", event)
            };
            // At once: what is swapped between press and release would not be clicked on.
            let moves =
                [event("mouseMoved", "none"), event("mousePressed", "left"), event("mouseReleased", "left")];
            // The answer is lost with a page that the click leaves.
            let _ = self.call(&moves);
            Some(())
        });
    }

    /// Replaces what is in a field, as typing does.
    pub(crate) fn fill(&self, what: &What, content: &str) {
        self.focus(what);
        let all = json!({"type": "rawKeyDown", "commands": ["selectAll"]});
        self.ask("Input.dispatchKeyEvent", all);
        self.enter(content);
    }

    /// Sets a field that is no plain text, such as an instant.
    pub(crate) fn set(&self, what: &What, value: &str) {
        self.on(what, "function(value) { this.value = value; }", &json!([{"value": value}]));
    }

    /// Chooses the first option that begins with a letter, by the keyboard.
    pub(crate) fn choose(&self, what: &What, letter: &str) {
        self.focus(what);
        self.press(letter);
    }

    /// Types into what has the focus.
    pub(crate) fn enter(&self, content: &str) {
        self.ask("Input.insertText", json!({"text": content}));
    }

    /// Presses a key: a character, or `Enter`.
    pub(crate) fn press(&self, key: &str) {
        let (text, code) = match key {
            "Enter" => ("\r", 13),
            _ => (key, u32::from(key.as_bytes()[0].to_ascii_uppercase())),
        };
        let down = json!({"type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code});
        let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        let _ = self.call(&[("Input.dispatchKeyEvent", down), ("Input.dispatchKeyEvent", up)]);
    }

    /// What a field holds.
    pub(crate) fn content(&self, what: &What) -> String {
        self.on(what, "function() { return this.value; }", &json!([])).as_str().unwrap().to_owned()
    }

    pub(crate) fn is_ticked(&self, what: &What) -> bool {
        self.on(what, "function() { return this.checked; }", &json!([])) == true
    }

    /// Chooses a file.
    pub(crate) fn attach(&self, what: &What, file: &std::path::Path) {
        let mut ask = self.until(&format!("{what:?}"), || self.find(what));
        ask["files"] = json!([file]);
        self.ask("DOM.setFileInputFiles", ask);
    }

    /// Drags a file over the page, looks whether `is_shown`, and drops it.
    pub(crate) fn drop_file(&self, file: &std::path::Path, is_shown: &str) {
        let data = json!({"items": [], "files": [file], "dragOperationsMask": 1});
        let drag = |kind: &str| {
            let event = json!({"type": kind, "x": 600, "y": 400, "data": data});
            self.ask("Input.dispatchDragEvent", event);
        };
        drag("dragEnter");
        drag("dragOver");
        self.see(&super::what::css(is_shown));
        drag("drop");
    }

    /// One complaint of the console is what the test wants.
    pub(crate) fn complains(&self, of: &str) {
        self.until(&format!("a complaint of {of}"), || {
            self.look_around();
            let complaints = &mut self.seen.borrow_mut().complaints;
            let at = complaints.iter().position(|complaint| complaint.contains(of))?;
            Some(complaints.remove(at))
        });
    }

    /// Waits for a page that is whole, and then for what `look` looks for.
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            self.look_around();
            if std::mem::take(&mut self.seen.borrow_mut().is_interrupted) {
                self.ask("Page.reload", json!({}));
            }
            if self.is_whole()
                && let Some(found) = look()
            {
                return found;
            }
            assert!(Instant::now() < end, "waited in vain for {what}");
            self.chromium.listen(Duration::from_millis(20));
        }
    }

    /// Is all of it loaded, so that its script has run?
    fn is_whole(&self) -> bool {
        self.value("document.readyState") == "complete"
    }

    fn is_there(&self) {
        self.until("the page", || Some(()));
    }

    /// The node, as commands of `DOM` take it.
    fn find(&self, what: &What) -> Option<Value> {
        let node = self.find_now(what)?;
        // It may belong to a page that has come since, and is not whole yet.
        self.is_whole().then_some(node)
    }

    fn find_now(&self, what: &What) -> Option<Value> {
        match what {
            What::Said { roles, name, rule } => {
                let tree = self.call(&[("Accessibility.getFullAXTree", json!({}))]).ok()?;
                Some(json!({"backendNodeId": first(&tree, roles, name, *rule)?}))
            }
            What::Css { selector, text, nth } => {
                let all = format!("[...document.querySelectorAll({})]", json!(selector));
                let fits = format!("one.checkVisibility() && one.textContent.includes({})", json!(text));
                let ask = json!({"expression": format!("{all}.filter((one) => {fits})[{nth}]")});
                let found = self.call(&[("Runtime.evaluate", ask)]).ok()?;
                Some(json!({"objectId": found["result"].get("objectId")?}))
            }
        }
    }

    fn focus(&self, what: &What) {
        self.until(&format!("{what:?} to type into"), || {
            let node = self.find(what)?;
            self.call(&[("DOM.focus", node)]).ok()
        });
    }

    /// Calls a function of JavaScript with the node as `this`.
    fn on(&self, what: &What, function: &str, arguments: &Value) -> Value {
        self.until(&format!("{what:?}"), || {
            let node = self.find(what)?;
            let object = match node.get("objectId") {
                Some(id) => id.clone(),
                None => self.call(&[("DOM.resolveNode", node)]).ok()?["object"]["objectId"].clone(),
            };
            let ask = json!({"objectId": object, "functionDeclaration": function, "arguments": arguments, "returnByValue": true});
            Some(self.call(&[("Runtime.callFunctionOn", ask)]).ok()?["result"]["value"].clone())
        })
    }

    fn call(&self, asks: &[Ask<'_>]) -> Result<Value, String> {
        self.chromium.call(&self.session, asks)
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        self.call(&[(method, params)]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Takes note of what happened.
    fn look_around(&self) {
        let mut seen = self.seen.borrow_mut();
        for event in self.chromium.events(&self.session) {
            let params = &event["params"];
            let word = |at: &str| params.pointer(at).and_then(Value::as_str).unwrap_or_default();
            match event["method"].as_str().unwrap_or_default() {
                "Page.frameNavigated" if params["frame"].get("parentId").is_none() => {
                    seen.documents += 1;
                    seen.streams = 0;
                }
                "Network.responseReceived" if word("/type") == "EventSource" => seen.streams += 1,
                "Network.loadingFailed" if word("/errorText") == INTERRUPTED => {
                    seen.is_interrupted |= matches!(word("/type"), "Document" | "Script" | "Stylesheet");
                }
                "Network.requestWillBeSent" => {
                    let url = word("/request/url");
                    let is_ours = url
                        .strip_prefix(self.windlass.url.as_str())
                        .is_some_and(|rest| rest.starts_with('/'));
                    // The browser's own pictures, such as a calendar's, are in their addresses.
                    if !is_ours && !url.starts_with("data:") {
                        seen.complaints.push(format!("asked {url}"));
                    }
                }
                // A page that was interrupted is loaded again; a stream opens itself again.
                "Log.entryAdded" if word("/entry/text").contains(INTERRUPTED) => {}
                "Log.entryAdded" if matches!(word("/entry/level"), "error" | "warning") => {
                    seen.complaints.push(format!("{} {}", word("/entry/text"), word("/entry/url")));
                }
                "Runtime.consoleAPICalled" if matches!(word("/type"), "error" | "warning" | "assert") => {
                    seen.complaints.push(params["args"].to_string());
                }
                "Runtime.exceptionThrown" => seen.complaints.push(params["exceptionDetails"].to_string()),
                _ => {}
            }
        }
    }

    /// What was to be seen when the test failed.
    fn story(&self) -> String {
        let name = std::thread::current().name().unwrap_or("page").replace(':', "-");
        let picture = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        let taken = self.call(&[("Page.captureScreenshot", json!({}))]).ok();
        let taken = taken.and_then(|taken| BASE64_STANDARD.decode(taken["data"].as_str()?).ok());
        let drawn = taken.is_some_and(|bytes| std::fs::write(&picture, bytes).is_ok());
        let log = std::fs::read_to_string(self.windlass.home().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "the page was {}\nit looked like {}\nit said:\n{}\nits console complained of {:?}\nthe server said:\n{}",
            self.address(),
            if drawn { picture.display().to_string() } else { "nothing that could be drawn".to_owned() },
            self.value("document.body?.innerText").as_str().unwrap_or_default(),
            self.seen.borrow().complaints,
            lines[lines.len().saturating_sub(30)..].join("\n"),
        )
    }
}

impl Drop for Page<'_> {
    #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
            return;
        }
        self.look_around();
        assert!(self.seen.borrow().complaints.is_empty(), "complaints: {:?}", self.seen.borrow().complaints);
    }
}
