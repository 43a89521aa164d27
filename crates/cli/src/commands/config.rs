//! `windlass config`.

use clap::Args;
use windlass_client::config::Found;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::table::Table;
use crate::settings::{SettingFlags, Settings, layers};

/// Shows every setting of server and runner, then which server the other commands would call, and where each value
/// was set. Checks them all.
#[derive(Args, Debug)]
pub(crate) struct Config {
    #[command(flatten)]
    settings: SettingFlags,

    /// Print the commented default instead, to start a windlass.toml from
    #[arg(long)]
    default: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Config {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let output = Output::new(self.json);
        if self.default {
            output.bytes(layers::DEFAULT.as_bytes())?;
            return Ok(0);
        }
        let layers = self.settings.layers(|name| std::env::var(name).ok(), &[])?;
        let mut rows: Vec<[String; 3]> = layers
            .all()
            .map(|(name, value, origin)| [name.to_owned(), value.to_owned(), origin.to_string()])
            .collect();
        let client = Connection::default().resolve()?;
        let found = |name: &str, found: Option<&Found>, show: fn(&str) -> String| match found {
            Some(found) => [format!("client.{name}"), show(&found.value), found.from.clone()],
            None => [format!("client.{name}"), String::new(), "nowhere".to_owned()],
        };
        rows.push(found("url", Some(&client.url), str::to_owned));
        rows.push(found("token", client.token.as_ref(), masked));
        rows.push(found("project_id", client.project_id.as_ref(), str::to_owned));
        rows.push(found("ca", client.ca.as_ref(), str::to_owned));
        if output.json {
            let all: serde_json::Map<String, serde_json::Value> = rows
                .into_iter()
                .map(|[name, value, from]| (name, serde_json::json!({ "value": value, "from": from })))
                .collect();
            output.json(&all)?;
        } else {
            let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
            rows.into_iter().for_each(|row| table.row(row));
            table.print(output, "")?;
        }
        Settings::new(&layers)?;
        Ok(0)
    }
}

/// Enough of a token to tell it from another.
fn masked(token: &str) -> String {
    let start: String = token.chars().take(4).collect();
    format!("{start}… ({} characters)", token.chars().count())
}
