//! The first project and token, and `DATA/iron.json`, where clients find them.

use std::io::Write as _;
use std::path::Path;

use windlass_model::project::Scope;
use windlass_model::wire::projects::IronJson;
use windlass_server::App;

use super::address::Address;
use crate::failure::{Doing as _, Failure};

/// What the project of the first start is called.
const FIRST_PROJECT: &str = "default";

/// Sees that `DATA/iron.json` has credentials that are good, made if need be, and the address as it is now.
pub(crate) async fn ensure(app: &App, data: &Path, address: &Address) -> Result<(), Failure> {
    let path = data.join("iron.json");
    let before = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<IronJson>(&text).ok());
    let good = before.as_ref().filter(|c| {
        let is_project = c.project_id.parse().is_ok_and(|id| app.project(id).is_some());
        is_project && app.tokens.find(&c.token).is_some_and(|t| !t.record.is_expired(app.now()))
    });
    let (token, project_id) = match good {
        Some(c) => (c.token.clone(), c.project_id.clone()),
        None => make(app).await?,
    };
    let after = IronJson {
        token,
        project_id,
        scheme: address.scheme.to_owned(),
        protocol: address.scheme.to_owned(),
        host: address.host.clone(),
        port: address.port,
        api_version: "2".to_owned(),
        ca: address.ca_text(),
    };
    if before.as_ref() != Some(&after) {
        write(&path, &after).doing(format_args!("write {}", path.display()))?;
    }
    Ok(())
}

async fn make(app: &App) -> Result<(String, String), Failure> {
    let project = match app.projects().first() {
        Some(project) => project.clone(),
        None => app.create_project(FIRST_PROJECT).await.map_err(Failure::new)?,
    };
    let name = "made by the server for iron.json";
    let (token, _) = app.create_token(None, &[Scope::Admin], name, None).await.map_err(Failure::new)?;
    Ok((token, project.id.to_string()))
}

/// Replaces the file as a whole; nobody but its owner may read it, at no time.
fn write(path: &Path, credentials: &IronJson) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".iron.json").tempfile_in(folder)?;
    let mut text = serde_json::to_vec_pretty(credentials).map_err(Failure::new)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| Failure::from(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_file_is_for_its_owner_alone_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("iron.json");
        let mut credentials = IronJson {
            token: "t".to_owned(),
            project_id: "p".to_owned(),
            scheme: "http".to_owned(),
            protocol: "http".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 1,
            api_version: "2".to_owned(),
            ca: None,
        };
        for port in [1, 2] {
            credentials.port = port;
            write(&path, &credentials).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let read: IronJson = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(read, credentials);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
