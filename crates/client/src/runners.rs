//! Runners, as operators see them. What runners themselves call is [`crate`]'s `runner_api`.

use windlass_model::wire::Msg;
use windlass_model::wire::more::{Runner, RunnerList};

use crate::{Client, ClientError};

impl Client {
    /// Every runner session that is kept, live ones first.
    pub async fn runners(&self) -> Result<Vec<Runner>, ClientError> {
        let list: RunnerList = self.get("/2/runners").await?;
        Ok(list.runners)
    }

    /// Asks a runner to take no more tasks, or to take them again; those that it runs go on.
    pub async fn drain_runner(&self, id: &str, drain: bool) -> Result<(), ClientError> {
        let body = serde_json::json!({ "drain": drain });
        self.post::<Msg>(&format!("/2/runners/{id}/drain"), &body).await.map(drop)
    }
}
