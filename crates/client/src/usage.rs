//! Compute time.

use windlass_model::time::Timestamp;
use windlass_model::usage::UsageBy;
use windlass_model::wire::usage::UsageReport;

use crate::query::Query;
use crate::{Client, ClientError};

impl Client {
    /// What the attempts of the project used that ended on the days, in UTC, from that of `from` to that of `to`; the
    /// last week if neither is given.
    pub async fn usage(
        &self,
        by: UsageBy,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<UsageReport, ClientError> {
        let seconds = |t: Timestamp| t.as_millis().div_euclid(1000);
        let query = Query::default()
            .with("by", by.as_str())
            .with_some("from", from.map(seconds))
            .with_some("to", to.map(seconds));
        self.get(&query.on(&self.in_project("usage"))).await
    }
}
