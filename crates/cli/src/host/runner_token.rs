//! The token of the runner that `up` has in its own process: made when it starts, kept in memory only, revoked when it
//! stops. So it may do what runners do and no more, and nobody who revokes a token of theirs stops the tasks.

use windlass_model::id::TokenId;
use windlass_model::project::Scope;
use windlass_server::App;

use crate::failure::Failure;

const NAME: &str = "of the runner in `windlass up`, while it runs";

/// Makes the token. One that a crash left behind, which nobody knows any more, is revoked.
pub(crate) async fn make(app: &App) -> Result<(String, TokenId), Failure> {
    let is_left = |name: &str, scopes: &[Scope]| name == NAME && scopes == [Scope::Runner];
    for token in app.tokens.all().iter().filter(|t| t.project.is_none() && is_left(&t.name, &t.scopes)) {
        revoke(app, token.id).await?;
    }
    let (text, record) = app.create_token(None, &[Scope::Runner], NAME, None).await.map_err(Failure::new)?;
    Ok((text, record.id))
}

/// Revokes the token.
pub(crate) async fn revoke(app: &App, id: TokenId) -> Result<(), Failure> {
    app.revoke_token(id).await.map_err(Failure::new)
}
