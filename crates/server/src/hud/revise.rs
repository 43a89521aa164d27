//! What makes a revision: a file, other settings, other variables, or an earlier revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use windlass_model::code::{Code, runtime_of};
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::secret::MASK;
use windlass_model::wire::BadField;
use windlass_model::wire::codes::UploadRequest;
use windlass_model::wire::lenient::Text;

use super::answer::{Shown, done, show};
use super::form::Form;
use super::guard::Here;
use super::same::Same;
use super::shell::Shell;
use crate::api::codes::{self as api, Kept};
use crate::api::params::Id;
use crate::app::App;
use crate::auth::InProject;
use crate::error::ApiError;
use crate::upload::{self, Files};

#[derive(Template)]
#[template(path = "hud/code_new.html")]
struct NewPage {
    shell: Shell,
    same: Vec<Same>,
}

/// `GET /p/{project}/codes/new`: the form for a first revision.
pub(super) async fn form(State(app): State<Arc<App>>, here: Here, InProject(project): InProject) -> Shown {
    Ok(show(&NewPage {
        same: vec![Same::upload("Upload it", "windlass upload hello.sh".to_owned(), project, "hello", true)],
        shell: Shell { live: String::new(), ..here.shell(&app, "Codes", "A new package")? },
    }))
}

/// `POST /p/{project}/codes`: a first revision.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    headers: HeaderMap,
    request: Request,
) -> Shown {
    let form = upload::receive_form(&app, request).await?;
    let name = form.fields.get("name").map(str::to_owned);
    let name = name.or_else(|| form.file_name.split('.').next().map(str::to_owned)).filter(|n| !n.is_empty());
    let name = name.ok_or_else(|| BadField::missing("name"))?;
    if app.store.code_named(project, &name).await?.is_some() {
        let msg = format!("name: there is a package {name:?} already; its page takes new revisions of it");
        return Err(ApiError::conflict(msg).into());
    }
    let kept = keep_file(&app, project, name, None, form).await?;
    Ok(uploaded(project, &kept, &headers))
}

/// `POST /p/{project}/codes/{id}`: a new revision with another file.
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    headers: HeaderMap,
    request: Request,
) -> Shown {
    let code = app.code_of(project, id).await?;
    let form = upload::receive_form(&app, request).await?;
    let kept = keep_file(&app, project, code.name.clone(), Some(&code), form).await?;
    Ok(uploaded(project, &kept, &headers))
}

async fn keep_file(
    app: &App,
    project: ProjectId,
    name: String,
    previous: Option<&Code>,
    form: upload::FileForm,
) -> Result<Kept, ApiError> {
    let zip =
        form.zip.ok_or_else(|| ApiError::bad_request("file: choose a zip, or a program of one file"))?;
    let field = |name: &str| form.fields.get(name).map_or(Text::Unset, |text| Text::Is(text.to_owned()));
    let mut request = UploadRequest {
        name: name.into(),
        command: field("command"),
        runtime: field("runtime"),
        file_name: field("file_name"),
        ..UploadRequest::default()
    };
    let says_nothing = ["command", "runtime", "file_name"].iter().all(|name| form.fields.get(name).is_none());
    let goes_on = previous.is_some_and(|code| {
        let launch = &code.latest.launch;
        !launch.command.is_empty() || !launch.image.is_empty() || !launch.handler.is_empty()
    });
    // A program of one file says how it is started, as far as nobody else does.
    if form.is_single && says_nothing && !goes_on {
        request.runtime = Text::Is(runtime_of(&form.file_name).to_owned());
        request.file_name = Text::Is(form.file_name);
    }
    api::keep(app, project, request, Files { zip: Some(zip), image: None }, api::Same::IsNew).await
}

/// Shows the package; a script that sends the form itself hears where it is.
fn uploaded(project: ProjectId, kept: &Kept, headers: &HeaderMap) -> Response {
    let target = format!("/p/{project}/codes/{}", kept.code.id);
    let mut response = done(&target, &format!("Uploaded as revision {}", kept.code.latest.rev));
    if headers.contains_key("x-live") {
        *response.status_mut() = StatusCode::CREATED;
    }
    response.into_response()
}

/// `POST /p/{project}/codes/{id}/settings`: what its tasks may take, how often they are retried, its config.
pub(super) async fn settings(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    form: Form,
) -> Shown {
    let code = app.code_of(project, id).await?;
    let size = |field: &str| Text::Is(form.0.get(field).unwrap_or("0").to_owned());
    let config = form.0.get("config").filter(|text| !text.is_empty());
    let config = config.map(|text| text.replace("\r\n", "\n").into_bytes());
    let request = UploadRequest {
        name: code.name.clone().into(),
        memory: size("memory"),
        cpu: form.new_number("cpu")?,
        pids: form.new_number("pids")?,
        disk: size("disk"),
        open_files: form.new_number("open_files")?,
        output: size("output"),
        network: Text::Is(form.0.get("network").unwrap_or("default").to_owned()),
        max_concurrency: form.new_number("max_concurrency")?,
        retries: form.new_number("retries")?,
        retries_delay: form.new_number("retries_delay")?,
        default_priority: form.new_number("default_priority")?,
        // The form shows what there is: what is emptied is taken away.
        remove_config: config.is_none(),
        config: config.map(Into::into),
        ..UploadRequest::default()
    };
    changed(&app, project, id, request).await
}

/// `POST /p/{project}/codes/{id}/variables`: sets, keeps and removes them. An empty value keeps what is there.
pub(super) async fn variables(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    Form(form): Form,
) -> Shown {
    let code = app.code_of(project, id).await?;
    let removed: Vec<&str> = form.all("remove").collect();
    let mut variables: BTreeMap<String, Text> = BTreeMap::new();
    for name in code.latest.env_vars.keys().filter(|name| !removed.contains(&name.as_str())) {
        let value = form.get(&format!("set.{name}")).unwrap_or(MASK);
        variables.insert(name.clone(), value.to_owned().into());
    }
    for n in 0.. {
        let (name, value) = (format!("name.{n}"), format!("value.{n}"));
        if !form.keys().any(|key| key == name) {
            break;
        }
        if let Some(name) = form.get(&name) {
            variables.insert(name.to_owned(), form.get(&value).unwrap_or_default().to_owned().into());
        }
    }
    let name = code.name.clone().into();
    let request = UploadRequest { name, env_vars: Some(variables), ..UploadRequest::default() };
    changed(&app, project, id, request).await
}

async fn changed(app: &App, project: ProjectId, id: CodeId, request: UploadRequest) -> Shown {
    let kept = api::keep(app, project, request, Files::default(), api::Same::IsNothing).await?;
    let said = match kept.is_new {
        true => format!("Changed: revision {}", kept.code.latest.rev),
        false => "Nothing was changed".to_owned(),
    };
    Ok(done(&format!("/p/{project}/codes/{id}"), &said))
}

/// `POST /p/{project}/codes/{id}/rollback`.
pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    Form(form): Form,
) -> Shown {
    let rev = api::revision_in(&form)?.ok_or_else(|| BadField::missing("revision"))?;
    let code = api::roll_back(&app, project, id, rev).await?;
    let said = format!("Rolled back: revision {} is like revision {rev}", code.latest.rev);
    Ok(done(&format!("/p/{project}/codes/{id}"), &said))
}
