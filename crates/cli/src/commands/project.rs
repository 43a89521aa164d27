//! `windlass project`.

use clap::{Args, Subcommand};
use windlass_model::isolation::Level;

use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::table::Table;
use crate::output::when;

/// Creates, lists and changes projects, which own workers, tasks and schedules.
#[derive(Args, Debug)]
pub(crate) struct Project {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Create a project, and print its id
    Create(Create),
    /// List the projects that the token may see
    List(List),
    /// Set what the project demands of the runners that take its tasks
    Set(Set),
    /// Keep the login that the project's images are pulled with from a registry
    Login(Login),
    /// Forget the login to a registry
    Logout(Logout),
}

#[derive(Args, Debug)]
struct Login {
    /// The registry, as in the names of its images, such as registry.example.org
    registry: String,

    /// Who logs in. The password, or a token in its place, is the first line of standard input
    #[arg(long, value_name = "NAME")]
    username: String,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Logout {
    /// The registry
    registry: String,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Create {
    /// What people will call it
    name: String,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Set {
    /// The weakest isolation that its tasks may run in: process (any), namespaces, namespaces+cgroups-v1,
    /// namespaces+cgroups-v2. Runners below do not get them
    #[arg(long, value_name = "LEVEL")]
    min_isolation: Level,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
}

impl Project {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        match self.action {
            None => list(&self.connection).await,
            Some(Action::List(args)) => list(&args.connection).await,
            Some(Action::Create(args)) => create(args).await,
            Some(Action::Set(args)) => set(args).await,
            Some(Action::Login(args)) => login(args).await,
            Some(Action::Logout(args)) => {
                set_login(&args.connection, &args.registry, "", "", "forgotten").await
            }
        }
    }
}

async fn create(args: Create) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client_without_project()?, args.connection.output());
    let project =
        client.create_project(&args.name).await.doing(format_args!("create project {}", args.name))?;
    if output.json {
        output.json(&project)?;
    } else {
        output.line(&project.id.to_string())?;
    }
    Ok(0)
}

async fn set(args: Set) -> Result<u8, Failure> {
    let (client, output) = (args.connection.client()?, args.connection.output());
    let project = client.set_min_isolation(args.min_isolation).await;
    let project = project.doing(format_args!("change project {}", client.project()))?;
    if output.json {
        output.json(&project)?;
    } else {
        output.line(&format!(
            "{} runs its tasks in isolation {} or better",
            project.name, project.min_isolation
        ))?;
    }
    Ok(0)
}

async fn login(args: Login) -> Result<u8, Failure> {
    let mut password = String::new();
    std::io::stdin().read_line(&mut password).doing("read the password from standard input")?;
    let password = password.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(Failure::usage("the first line of standard input is the password, and there is none"));
    }
    set_login(&args.connection, &args.registry, &args.username, password, "kept").await
}

async fn set_login(
    connection: &Connection,
    registry: &str,
    username: &str,
    password: &str,
    done: &str,
) -> Result<u8, Failure> {
    let (client, output) = (connection.client()?, connection.output());
    let said = client.set_registry_login(registry, username, password).await;
    let said = said.doing(format_args!("change the login to {registry}"))?;
    if output.json {
        output.json(&said)?;
    } else {
        output.line(&format!("the login to {registry} is {done}"))?;
    }
    Ok(0)
}

async fn list(connection: &Connection) -> Result<u8, Failure> {
    let (client, output) = (connection.client_without_project()?, connection.output());
    let projects = client.projects().await.doing("list projects")?;
    if output.json {
        output.json(&serde_json::json!({ "projects": projects }))?;
        return Ok(0);
    }
    let now = when::now();
    let mut table = Table::new(&["ID", "NAME", "CREATED", "TASKS", "ISOLATION"]);
    for p in projects {
        let created = when::relative(p.created_at, now);
        let isolation = match p.min_isolation {
            Level::Process => "any".to_owned(),
            level => level.to_string(),
        };
        table.row([p.id.to_string(), p.name, created, p.task_count.to_string(), isolation]);
    }
    table.print(output, "no projects")?;
    Ok(0)
}
