//! Logins to registries on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BadField;
use super::lenient::Text;
use crate::image::reference::registry_of;

/// Longest name or password: tokens are long.
const MAX_TEXT: usize = 16 * 1024;

/// Body of `POST credentials`.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct Credentials {
    /// Base64 of a JSON object with `username`, `password` and `serveraddress`, as Docker has it.
    #[schema(value_type = String)]
    pub auth: Text,
}

/// Without what is in it.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

/// What is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Docker {
    /// Who.
    pub username: String,
    /// A password, or a token in its place.
    pub password: String,
    /// The registry's name, as in the names of images.
    pub registry: String,
}

impl Credentials {
    /// A login to a registry; neither name nor password: none.
    pub fn new(registry: &str, username: &str, password: &str) -> Self {
        let inner =
            serde_json::json!({ "username": username, "password": password, "serveraddress": registry });
        Self { auth: Text::Is(BASE64.encode(inner.to_string())) }
    }

    /// Name, password and registry.
    pub fn open(self) -> Result<Docker, BadField> {
        #[derive(Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct Inner {
            username: String,
            password: String,
            serveraddress: String,
        }
        let wrong = |problem: &str| BadField::invalid("auth", problem);
        let auth = self.auth.get("auth")?.ok_or_else(|| BadField::missing("auth"))?;
        let json = BASE64.decode(auth.trim()).map_err(|_| wrong("is not base64"))?;
        // By way of a map: a struct would be read from an array, too.
        let Inner { username, password, serveraddress } =
            serde_json::from_slice::<serde_json::Map<_, _>>(&json)
                .and_then(|object| serde_json::from_value(object.into()))
                .map_err(|_| wrong("is not an object with username, password and serveraddress"))?;
        if [&username, &password, &serveraddress].iter().any(|text| text.len() > MAX_TEXT) {
            return Err(wrong("is too long"));
        }
        Ok(Docker { username, password, registry: registry_of(&serveraddress) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_what_docker_sends() {
        let open = |json: &str| Credentials { auth: Text::Is(BASE64.encode(json)) }.open();
        let login = open(
            r#"{"email":"e","username":"u","password":"p","serveraddress":"https://index.docker.io/v1/"}"#,
        );
        let Ok(Docker { username, password, registry }) = login else { panic!("it is refused") };
        assert_eq!((username.as_str(), password.as_str(), registry.as_str()), ("u", "p", "docker.io"));
        assert!(open("[]").is_err());
        assert!(Credentials { auth: Text::Is("!".to_owned()) }.open().is_err());
        assert!(Credentials::default().open().is_err());
    }
}
