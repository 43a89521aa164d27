//! The HUD: the web page that people keep open. Rendered here, live by one small module, nothing from elsewhere.
//!
//! A page is a handler, a view struct of finished strings, and a template that only loops and branches. Every page
//! works without JavaScript: actions are forms that answer with a redirect. With it, `live.js` follows the page's event
//! stream and swaps the parts marked `data-live` for those of a fresh rendering.
//!
//! | module | holds |
//! |---|---|
//! | [`routes`] | every page and action, once, with who may use it |
//! | [`session`], [`failures`] | the cookie: signed, expiring, bound to a token; what protects forms; failed logins |
//! | [`guard`] | lets requests through to pages, or to the login |
//! | [`shell`], [`answer`] | what is around every page; headers, redirects, errors as pages |
//! | [`show`], [`ansi`], [`payload`], [`chart`], [`timeline`], [`spark`] | values as people read them |
//! | [`lately`] | what became of a package's tasks lately |
//! | [`firings`] | what schedules will do |
//! | [`matches`] | which tasks a filter means, and how many |
//! | [`range`], [`needs`] | what the overview reaches over, and what it says needs a look |
//! | [`live`], [`pulse`], [`shared`] | the event stream that says "look again", when it does, and one answer for all who look |
//! | [`overview`], [`tasks`], [`task`], [`queue`], [`codes`], [`code`], [`revise`], [`delete`], [`schedules`], [`runners`], [`tokens`], [`projects`], [`login`] | the pages |

mod ansi;
mod answer;
mod assets;
mod chart;
mod choices;
mod code;
mod codes;
mod delete;
mod failures;
mod firings;
mod form;
mod guard;
mod help;
mod lately;
mod live;
mod log;
mod login;
mod matches;
mod needs;
mod overview;
mod payload;
mod projects;
mod pulse;
mod queue;
mod range;
mod revise;
mod routes;
mod runners;
mod same;
mod schedules;
mod session;
mod shared;
mod shell;
mod show;
mod spark;
mod task;
mod tasks;
mod timeline;
mod tokens;

pub use guard::mount;
pub use routes::{Page, pages};
pub use session::Hud;
