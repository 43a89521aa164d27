//! Which server leads, and where the others are.
//!
//! Two that lead are impossible by the term, not by time: every duty's transaction ends with a statement that fails
//! unless the term is still that in which it was begun, and that nobody can overtake before the commit.

use std::time::Duration;

use crate::postgres::fault::Stop;
use crate::postgres::param::params;
use crate::postgres::state::{Operation, Term};
use crate::postgres::work::Work;
use crate::types::{Lead, Peer};

/// Leases for which a server is known by its address after it was there last.
const KNOWN_FOR: u32 = 3;

pub(in crate::postgres) struct Leads {
    pub(in crate::postgres) lease: Duration,
    pub(in crate::postgres) url: Option<String>,
}

impl Operation for Leads {
    type Answer = Lead;
    const IS_GATED: bool = false;

    async fn run(&self, work: &mut Work<'_>) -> Result<Lead, Stop> {
        let (own, lease_ms) = (work.state.server(), millis(self.lease));
        let row = work.query_opt(include_str!("../sql/lead.sql"), params![own, lease_ms]).await?;
        let row = row.ok_or_else(|| crate::postgres::fault::damaged("the row of the leader is missing"))?;
        let (holder, term): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let left = Duration::from_millis(row.try_get::<_, i64>(2)?.unsigned_abs());
        if let Some(url) = &self.url {
            let kept_ms = millis(self.lease * KNOWN_FOR);
            work.query(include_str!("../sql/be_there.sql"), params![own, url.clone(), kept_ms]).await?;
            work.later("DELETE FROM peer WHERE until < clock_timestamp()", params![]);
        }
        let mut lead =
            Lead { is_ours: holder == own, term, left: Some(left), leader: None, peers: Vec::new() };
        let there = "SELECT server, url FROM peer WHERE until >= clock_timestamp() ORDER BY server";
        for row in work.query(there, params![]).await? {
            let peer = Peer { server: row.try_get(0)?, url: row.try_get(1)? };
            if peer.server == holder {
                lead.leader = Some(peer.url.clone());
            }
            if peer.server != own {
                lead.peers.push(peer);
            }
        }
        Ok(lead)
    }
}

/// Gives the lead up, if it is still ours, and is not there any more.
pub(in crate::postgres) struct Leave(pub(in crate::postgres) Term);

impl Operation for Leave {
    type Answer = ();
    const IS_GATED: bool = false;

    async fn run(&self, work: &mut Work<'_>) -> Result<(), Stop> {
        let own = work.state.server();
        let give_up = "UPDATE leader SET until = 'epoch' WHERE holder = $1 AND term = $2";
        work.later(give_up, params![own, self.0.0]);
        work.later("DELETE FROM peer WHERE server = $1", params![own]);
        Ok(())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}
