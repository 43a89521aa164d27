//! `windlass doctor`.

use clap::Args;
use serde_json::json;
use windlass_runner::{Check, SpawnerCommand, State, doctor};

use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::Table;
use crate::settings::{SettingFlags, Settings};

/// Says what this host can do for tasks, what to change, and whether the server answers. Exits with 1 if a runner could
/// not work here.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    #[command(flatten)]
    connection: Connection,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let output = self.connection.output();
        let settings = Settings::new(&SettingFlags::default().layers(|name| std::env::var(name).ok(), &[])?)?;
        let spawner = SpawnerCommand::own().doing("find the windlass program")?;
        let own = &settings.runner;
        let mut checks = doctor(&own.work, &own.sandbox, &own.images, spawner).await;
        checks.push(self.server().await);
        if output.json {
            let checks: Vec<_> = checks
                .iter()
                .map(|c| json!({ "property": c.property, "state": word(c.state), "found": c.found, "advice": c.advice }))
                .collect();
            output.json(&json!({ "checks": checks }))?;
        } else {
            let mut table = Table::wrapping(&["PROPERTY", "STATE", "FOUND"]);
            for c in &checks {
                let advice = c.advice.as_ref().map_or_else(String::new, |advice| format!(" -> {advice}"));
                table.row([c.property.clone(), word(c.state).to_owned(), format!("{}{advice}", c.found)]);
            }
            table.print(output, "")?;
        }
        Ok(u8::from(checks.iter().any(|c| c.state == State::Bad)))
    }

    /// Whether the server answers, and takes the token. That it does not is no reason to change the host.
    async fn server(&self) -> Check {
        let (state, found, advice) = match self.ask().await {
            Ok(found) => (State::Good, found, None),
            Err(failure) => {
                let (found, fix) = failure.into_parts();
                (State::Lacking, found, fix)
            }
        };
        Check { property: "server".to_owned(), state, found, advice }
    }

    async fn ask(&self) -> Result<String, Failure> {
        let config = self.connection.resolve()?;
        let client = config.client()?;
        client.ready().await?;
        let project = client.project_details().await?;
        Ok(format!("{} is ready, project {}", config.url.value, project.name))
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Good => "good",
        State::Lacking => "lacking",
        State::Bad => "bad",
    }
}
