//! Schedules.

use http::Method;
use windlass_model::id::ScheduleId;
use windlass_model::wire::Msg;
use windlass_model::wire::schedules::{CreateRequest, Schedule, ScheduleList, ScheduleRequest, Scheduled};

use crate::codes::Paging;
use crate::{Client, ClientError};

impl Client {
    /// Makes the schedules, all or none, and returns their ids in the same order.
    pub async fn schedule(&self, schedules: Vec<ScheduleRequest>) -> Result<Vec<ScheduleId>, ClientError> {
        let request = CreateRequest { schedules: Some(schedules) };
        let answer: Scheduled = self.post(&self.in_project("schedules"), &request).await?;
        Ok(answer.schedules.into_iter().map(|s| s.id).collect())
    }

    /// The schedules of the project, newest first.
    pub async fn schedules(&self, paging: Paging) -> Result<Vec<Schedule>, ClientError> {
        let list: ScheduleList = self.get(&paging.query().on(&self.in_project("schedules"))).await?;
        Ok(list.schedules)
    }

    /// The schedule.
    pub async fn schedule_by_id(&self, id: ScheduleId) -> Result<Schedule, ClientError> {
        self.get(&self.in_project(&format!("schedules/{id}"))).await
    }

    /// Changes the fields of the schedule that `changes` has.
    pub async fn update_schedule(
        &self,
        id: ScheduleId,
        changes: &ScheduleRequest,
    ) -> Result<(), ClientError> {
        let path = self.in_project(&format!("schedules/{id}"));
        self.json::<Msg>(Method::PUT, &path, Some(changes)).await.map(drop)
    }

    /// Keeps the schedule from firing. Returns the server's words: `Paused` or `Already paused`.
    pub async fn pause_schedule(&self, id: ScheduleId) -> Result<String, ClientError> {
        self.command(&format!("schedules/{id}/pause")).await
    }

    /// Lets the schedule fire again; what passed meanwhile is left out. Returns the server's words.
    pub async fn resume_schedule(&self, id: ScheduleId) -> Result<String, ClientError> {
        self.command(&format!("schedules/{id}/resume")).await
    }

    /// Ends the schedule: it fires no more. Tasks that it queued go on.
    pub async fn cancel_schedule(&self, id: ScheduleId) -> Result<(), ClientError> {
        self.command(&format!("schedules/{id}/cancel")).await.map(drop)
    }
}
