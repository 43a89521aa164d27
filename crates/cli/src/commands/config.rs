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
            .map(|(name, value, origin)| [name.to_owned(), shown(name, value), origin.to_string()])
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

/// The value as it may be read by whoever reads the screen: of the database's address all but the password.
fn shown(name: &str, value: &str) -> String {
    match name {
        "store" => without_password(value),
        _ => value.to_owned(),
    }
}

/// The address of a database, as a URL or as pairs, with `***` for its password.
fn without_password(address: &str) -> String {
    let mut shown = address.to_owned();
    if let Some(scheme) = shown.find("://") {
        let from = scheme + 3;
        let rest = &shown[from..];
        // The last one: passwords are often not encoded as they should be.
        let end = rest[..rest.find(['?']).unwrap_or(rest.len())].rfind('@');
        if let Some(end) = end
            && let Some(colon) = rest[..end].find(':')
        {
            shown.replace_range(from + colon + 1..from + end, "***");
        }
    }
    let mut from = 0;
    while let Some(at) = shown[from..].find("password") {
        let after = from + at + "password".len();
        let rest = &shown[after..];
        let value = rest.trim_start();
        from = after;
        let Some(value) = value.strip_prefix('=') else { continue };
        let value = value.trim_start();
        let start = shown.len() - value.len();
        let end = match value.strip_prefix('\'') {
            Some(quoted) => closing(quoted).map_or(value.len(), |end| end + 2),
            None => value.find(|c: char| c.is_whitespace() || c == '&').unwrap_or(value.len()),
        };
        shown.replace_range(start..start + end, "***");
        from = start + 3;
    }
    shown
}

/// Where a quoted value ends: a backslash takes the meaning from what follows it.
fn closing(quoted: &str) -> Option<usize> {
    let mut is_plain = true;
    quoted.bytes().position(|byte| {
        let is_end = is_plain && byte == b'\'';
        is_plain = !is_plain || byte != b'\\';
        is_end
    })
}

/// Enough of a token to tell it from another.
fn masked(token: &str) -> String {
    let start: String = token.chars().take(4).collect();
    format!("{start}… ({} characters)", token.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_the_database_is_not_shown() {
        for (address, seen) in [
            ("", ""),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:p@h:5432/d?pooled=true", "postgres://u:***@h:5432/d?pooled=true"),
            ("postgres://u:p@ss:word@h/d", "postgres://u:***@h/d"),
            (
                "postgres://h/d?user=u&password=p&pooled=true",
                "postgres://h/d?user=u&password=***&pooled=true",
            ),
            ("host=/run user=u password=p dbname=d", "host=/run user=u password=*** dbname=d"),
            (r"host=h password = 'a \' b' dbname=d", "host=h password = *** dbname=d"),
            ("password='open", "password=***"),
        ] {
            assert_eq!(shown("store", address), seen);
        }
        assert_eq!(shown("blobs", "password=x"), "password=x");
    }
}
