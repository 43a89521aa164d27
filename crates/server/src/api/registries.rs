//! Logins of projects to registries of images.

use windlass_model::id::ProjectId;
use windlass_model::image::Reference;
use windlass_model::runner::Login;

use crate::app::App;
use crate::seal::Place;

/// The project's login to the registry of an image. One that cannot be read is none: the registry then says what is
/// missing.
pub(super) fn login(app: &App, project: ProjectId, image: &Reference) -> Option<Login> {
    let registry = &image.registry;
    let owner = app.project(project)?;
    let sealed = owner.registries.get(registry)?;
    let login = app.seal.unseal(&Place::Registry { project, registry }, sealed).ok()?;
    serde_json::from_str(&login).ok()
}
