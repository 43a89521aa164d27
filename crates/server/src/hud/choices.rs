//! What can be chosen from: packages, by their names.

use windlass_model::id::ProjectId;
use windlass_model::wire::Page;

use crate::app::App;
use crate::error::ApiError;

/// Most packages, and most schedules, that a page lists.
pub(super) const MOST: Page = Page { skip: 0, limit: 500 };

/// The names of the project's packages, newest change first.
pub(super) async fn code_names(app: &App, project: ProjectId) -> Result<Vec<String>, ApiError> {
    let codes = app.store.codes(project, MOST).await?;
    Ok(codes.into_iter().map(|code| code.name).collect())
}
