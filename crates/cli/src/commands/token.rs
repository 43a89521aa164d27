//! `windlass token`.

use clap::{Args, Subcommand};
use windlass_client::projects::Reach;
use windlass_model::id::TokenId;
use windlass_model::project::Scope;
use windlass_model::wire::lenient::Text;
use windlass_model::wire::projects::TokenRequest;

use super::upload::text;
use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::Table;
use crate::output::{note, when};
use crate::settings::units;

/// Creates, lists and revokes tokens: of the project, and those that are good in every one.
#[derive(Args, Debug)]
pub(crate) struct Token {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Create a token, and print it: it cannot be shown again
    Create(Create),
    /// List tokens
    List(List),
    /// Make tokens invalid, for ever
    Revoke(Revoke),
}

#[derive(Args, Debug)]
struct Create {
    /// What people call it
    #[arg(long)]
    name: Option<String>,

    /// What it may do: queue, read, manage, runner, admin; several add up
    #[arg(long = "scope", required = true, value_delimiter = ',')]
    scopes: Vec<Scope>,

    /// Valid for this time, such as 30d [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    expires: Option<std::time::Duration>,

    /// Good in every project, and for what lies outside of them; needs an admin token. Runners need such a one
    #[arg(long)]
    everywhere: bool,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Revoke {
    /// The tokens, by id
    #[arg(required = true)]
    ids: Vec<TokenId>,

    #[command(flatten)]
    connection: Connection,
}

impl Token {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        match self.action {
            None => list(&self.connection).await,
            Some(Action::List(args)) => list(&args.connection).await,
            Some(Action::Create(args)) => create(args).await,
            Some(Action::Revoke(args)) => revoke(args).await,
        }
    }
}

async fn create(args: Create) -> Result<u8, Failure> {
    let output = args.connection.output();
    let (client, reach) = match args.everywhere {
        true => (args.connection.client_without_project()?, Reach::Everywhere),
        false => (args.connection.client()?, Reach::Project),
    };
    let request = TokenRequest {
        name: text(args.name),
        scopes: Some(args.scopes.iter().map(ToString::to_string).collect()),
        expires_at: args.expires.map_or(Text::Unset, |time| (when::now() + time).to_string().into()),
    };
    let created = client.create_token(reach, &request).await.doing("create a token")?;
    if output.json {
        output.json(&created)?;
    } else {
        output.line(&created.token)?;
        note(format_args!("id {}; keep the token now, it cannot be shown again", created.about.id));
    }
    Ok(0)
}

/// Those of the project, and as far as the caller may see them, those that are good everywhere.
async fn list(connection: &Connection) -> Result<u8, Failure> {
    let (client, output) = (connection.client()?, connection.output());
    let mut tokens = client.tokens(Reach::Project).await.doing("list tokens")?;
    match client.tokens(Reach::Everywhere).await {
        Ok(everywhere) => tokens.extend(everywhere),
        Err(e) if e.status() == Some(403) => {}
        Err(e) => return Err(Failure::from(e).while_doing("list tokens")),
    }
    if output.json {
        output.json(&serde_json::json!({ "tokens": tokens }))?;
        return Ok(0);
    }
    let now = when::now();
    let mut table = Table::new(&["ID", "SCOPES", "PROJECT", "CREATED", "EXPIRES", "LAST USED", "NAME"]);
    for t in tokens {
        table.row([
            t.id.to_string(),
            t.scopes.join(","),
            t.project_id.map_or_else(|| "every".to_owned(), |p| p.to_string()),
            when::relative(t.created_at, now),
            t.expires_at.0.map_or_else(|| "never".to_owned(), |_| when::relative(t.expires_at, now)),
            when::relative(t.last_used_at, now),
            t.name,
        ]);
    }
    table.print(output, "no tokens")?;
    Ok(0)
}

async fn revoke(args: Revoke) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client()?, args.connection.output());
    for id in &args.ids {
        let revoked = match client.revoke_token(Reach::Project, *id).await {
            Err(e) if e.status() == Some(404) => client.revoke_token(Reach::Everywhere, *id).await,
            revoked => revoked,
        };
        revoked.doing(format_args!("revoke token {id}"))?;
        if !output.json {
            output.line(&format!("revoked {id}"))?;
        }
    }
    if output.json {
        output.json(&serde_json::json!({ "msg": "Deleted" }))?;
    }
    Ok(0)
}
