//! Every page and every action of the HUD, once, with who may use it.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use windlass_model::project::Scope::{Admin, Manage, Queue, Read};

use super::{
    assets, code, codes, delete, help, live, log, login, overview, projects, queue, revise, runners,
    schedules, task, tasks, tokens,
};
use crate::app::App;
use crate::auth::Access::{self, Known, Open, Project as In, Root};

/// A page or an action. It cannot be made without naming who may use it.
pub struct Page {
    /// GET for a page, POST for an action.
    pub method: Method,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    pub(super) handler: MethodRouter<Arc<App>>,
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.method, self.path, self.access)
    }
}

fn page<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Page {
    Page { method: Method::GET, path, access, handler: on(MethodFilter::GET, handler) }
}

fn action<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Page {
    Page { method: Method::POST, path, access, handler: on(MethodFilter::POST, handler) }
}

/// Every page and every action.
#[rustfmt::skip]
pub fn pages() -> Vec<Page> {
    vec![
        page("/", Known, login::home),
        page("/login", Open, login::page),
        action("/login", Open, login::login),
        action("/logout", Known, login::logout),
        page("/help", Known, help::page),
        page("/assets/{name}", Open, assets::read),
        page("/projects", Known, projects::list),
        action("/projects", Root(Admin), projects::create),

        page("/p/{project_id}", In(Read), overview::page),
        page("/p/{project_id}/live", In(Read), live::project),

        page("/p/{project_id}/tasks", In(Read), tasks::page),
        action("/p/{project_id}/tasks/cancel", In(Manage), tasks::cancel),
        action("/p/{project_id}/tasks/retry", In(Manage), tasks::retry),
        page("/p/{project_id}/tasks/{id}", In(Read), task::page),
        page("/p/{project_id}/tasks/{id}/live", In(Read), live::task),
        page("/p/{project_id}/tasks/{id}/log", In(Read), log::text),
        page("/p/{project_id}/tasks/{id}/log/live", In(Read), log::follow),
        page("/p/{project_id}/tasks/{id}/result", In(Read), task::result),
        action("/p/{project_id}/tasks/{id}/cancel", In(Manage), task::cancel),
        action("/p/{project_id}/tasks/{id}/retry", In(Manage), task::retry),
        page("/p/{project_id}/tasks/{id}/edit", In(Queue), queue::edit),

        page("/p/{project_id}/codes", In(Read), codes::list),
        action("/p/{project_id}/codes", In(Manage), revise::create),
        page("/p/{project_id}/codes/new", In(Manage), revise::form),
        page("/p/{project_id}/codes/{id}", In(Read), code::page),
        action("/p/{project_id}/codes/{id}", In(Manage), revise::upload),
        action("/p/{project_id}/codes/{id}/settings", In(Manage), revise::settings),
        action("/p/{project_id}/codes/{id}/variables", In(Manage), revise::variables),
        action("/p/{project_id}/codes/{id}/rollback", In(Manage), revise::rollback),
        action("/p/{project_id}/codes/{id}/pause", In(Manage), code::pause),
        action("/p/{project_id}/codes/{id}/resume", In(Manage), code::resume),
        page("/p/{project_id}/codes/{id}/delete", In(Manage), delete::page),
        action("/p/{project_id}/codes/{id}/delete", In(Manage), delete::delete),
        page("/p/{project_id}/codes/{id}/download", In(Read), code::download),
        page("/p/{project_id}/queue", In(Queue), queue::form),
        action("/p/{project_id}/queue", In(Queue), queue::queue),

        page("/p/{project_id}/schedules", In(Read), schedules::list),
        page("/p/{project_id}/schedules/new", In(Queue), schedules::form),
        action("/p/{project_id}/schedules/new", In(Queue), schedules::create),
        page("/p/{project_id}/schedules/{id}", In(Read), schedules::page),
        action("/p/{project_id}/schedules/{id}", In(Manage), schedules::update),
        action("/p/{project_id}/schedules/{id}/pause", In(Manage), schedules::pause),
        action("/p/{project_id}/schedules/{id}/resume", In(Manage), schedules::resume),
        action("/p/{project_id}/schedules/{id}/cancel", In(Manage), schedules::cancel),
        action("/p/{project_id}/schedules/{id}/run", In(Manage), schedules::run_now),

        page("/p/{project_id}/runners", Root(Read), runners::list),
        action("/p/{project_id}/runners/{id}/drain", Root(Manage), runners::drain),

        page("/p/{project_id}/tokens", In(Manage), tokens::list),
        action("/p/{project_id}/tokens", In(Manage), tokens::create),
        action("/p/{project_id}/tokens/{id}/revoke", In(Manage), tokens::revoke),
    ]
}
