//! Projects and their tokens; the server itself.

use http::Method;
use windlass_model::id::TokenId;
use windlass_model::isolation::Level;
use windlass_model::wire::Msg;
use windlass_model::wire::credentials::Credentials;
use windlass_model::wire::projects::{
    Project, ProjectChange, ProjectList, ProjectRequest, Token, TokenCreated, TokenList, TokenRequest,
};

use crate::{Client, ClientError};

/// Where a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the client's project.
    Project,
    /// In every project, and for what lies outside of them.
    Everywhere,
}

impl Client {
    /// The projects that the token may see.
    pub async fn projects(&self) -> Result<Vec<Project>, ClientError> {
        let list: ProjectList = self.get("/2/projects").await?;
        Ok(list.projects)
    }

    /// This client's project.
    pub async fn project_details(&self) -> Result<Project, ClientError> {
        self.get(&format!("/2/projects/{}", self.project())).await
    }

    /// Makes a project. Needs the scope `admin`.
    pub async fn create_project(&self, name: &str) -> Result<Project, ClientError> {
        self.post("/2/projects", &ProjectRequest { name: name.into() }).await
    }

    /// Sets the weakest isolation that the project's tasks may run in. Needs the scope `manage`.
    pub async fn set_min_isolation(&self, level: Level) -> Result<Project, ClientError> {
        let path = format!("/2/projects/{}", self.project());
        let change = ProjectChange { min_isolation: level.as_str().into() };
        self.json(Method::PATCH, &path, Some(&change)).await
    }

    /// Sets the login that the project's images are pulled with from `registry`; neither name nor password: it is taken
    /// away. Needs the scope `manage`.
    pub async fn set_registry_login(
        &self,
        registry: &str,
        username: &str,
        password: &str,
    ) -> Result<Msg, ClientError> {
        let path = format!("/2/projects/{}/credentials", self.project());
        self.post(&path, &Credentials::new(registry, username, password)).await
    }

    /// The tokens of the project, or those that are not limited to one, without what makes them valid.
    pub async fn tokens(&self, reach: Reach) -> Result<Vec<Token>, ClientError> {
        let list: TokenList = self.get(&self.tokens_path(reach)).await?;
        Ok(list.tokens)
    }

    /// Makes a token. The answer is the only time that it is shown.
    ///
    /// # Errors
    /// Nobody can hand out a scope that they lack, and `runner` and `admin` only with [`Reach::Everywhere`].
    pub async fn create_token(
        &self,
        reach: Reach,
        request: &TokenRequest,
    ) -> Result<TokenCreated, ClientError> {
        self.post(&self.tokens_path(reach), request).await
    }

    /// Makes a token invalid, from now on and for ever.
    pub async fn revoke_token(&self, reach: Reach, id: TokenId) -> Result<(), ClientError> {
        let path = format!("{}/{id}", self.tokens_path(reach));
        self.json::<Msg>(Method::DELETE, &path, None::<&()>).await.map(drop)
    }

    fn tokens_path(&self, reach: Reach) -> String {
        match reach {
            Reach::Project => self.in_project("tokens"),
            Reach::Everywhere => "/2/tokens".to_owned(),
        }
    }

    /// The server's version, as it says it. Needs no token.
    pub async fn version(&self) -> Result<serde_json::Value, ClientError> {
        self.get("/version").await
    }

    /// Whether the server can take work right now; an error says why not. Needs no token.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(Method::GET, "/health/ready", None).await.map(drop)
    }
}
