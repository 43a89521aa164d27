//! What is around every page: where one is, who one is, and the way to everything else.

use windlass_model::id::ProjectId;
use windlass_model::project::Scope;

use super::assets;
use super::guard::Here;
use super::session::Session;
use crate::app::App;
use crate::error::ApiError;

/// The parts of the HUD, as the navigation lists them: name, path below the project, key.
const SECTIONS: [(&str, &str, &str); 6] = [
    ("Overview", "", "o"),
    ("Tasks", "/tasks", "t"),
    ("Codes", "/codes", "c"),
    ("Schedules", "/schedules", "s"),
    ("Runners", "/runners", "r"),
    ("Tokens", "/tokens", "k"),
];

/// Most other projects that every page links to.
const MOST_OTHERS: usize = 20;

/// What is around a page.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) project: ProjectId,
    pub(super) project_name: String,
    /// The oldest other projects in reach.
    pub(super) others: Vec<(ProjectId, String)>,
    pub(super) sections: Vec<Section>,
    /// What whoever is logged in is called.
    pub(super) who: String,
    /// What every form carries.
    pub(super) csrf: String,
    /// What the action before has to say.
    pub(super) said: String,
    /// The event stream that says when to look again; empty: the page does not change.
    pub(super) live: String,
    pub(super) may_queue: bool,
    pub(super) may_manage: bool,
    pub(super) css: &'static str,
    pub(super) js: &'static str,
}

/// An entry of the navigation.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) path: String,
    pub(super) key: &'static str,
    pub(super) is_current: bool,
}

impl Here {
    /// The session of whoever is logged in.
    pub(super) fn session(&self) -> Result<&Session, ApiError> {
        self.session
            .as_ref()
            .ok_or_else(|| ApiError::internal("a page for those logged in was shown to somebody else"))
    }

    /// The project of the page.
    pub(super) fn project(&self) -> Result<ProjectId, ApiError> {
        let project = self.project.as_ref().map(|p| p.id);
        project.ok_or_else(|| ApiError::internal("a page without a project asks for it"))
    }

    /// The same around the project that one lands at, for a page that belongs to none.
    pub(super) fn somewhere(self, app: &App) -> Result<Here, ApiError> {
        let own = self.session()?.token.record.project;
        let project = match own {
            Some(own) => app.project(own),
            None => app.projects().into_iter().next(),
        };
        Ok(Here { project: Some(project.ok_or_else(|| ApiError::not_found("Project"))?), ..self })
    }

    /// The shell of a page of the part `section`.
    pub(super) fn shell(&self, app: &App, section: &str, title: &str) -> Result<Shell, ApiError> {
        let (session, project) = (self.session()?, self.project()?);
        let reach = |id: ProjectId| session.token.record.project.is_none_or(|own| own == id);
        let projects = app.projects();
        let others =
            projects.iter().filter(|p| p.id != project && reach(p.id)).map(|p| (p.id, p.name.clone()));
        let sections = SECTIONS.into_iter().filter(|(name, ..)| match *name {
            "Runners" => self.may_everywhere(Scope::Read),
            "Tokens" => self.may(Scope::Manage),
            _ => true,
        });
        let name = &session.token.record.name;
        Ok(Shell {
            title: title.to_owned(),
            project,
            project_name: self.project.as_ref().map(|p| p.name.clone()).unwrap_or_default(),
            others: others.take(MOST_OTHERS).collect(),
            sections: sections
                .map(|(name, path, key)| Section {
                    name,
                    path: format!("/p/{project}{path}"),
                    key,
                    is_current: name == section,
                })
                .collect(),
            who: if name.is_empty() { "a token without a name".to_owned() } else { name.clone() },
            csrf: session.csrf.clone(),
            said: self.flash.clone().unwrap_or_default(),
            live: format!("/p/{project}/live"),
            may_queue: self.may(Scope::Queue),
            may_manage: self.may(Scope::Manage),
            css: assets::css_path(),
            js: assets::js_path(),
        })
    }
}
