//! The key that secrets in the data directory are sealed with: from the environment, from a file that was named, or
//! from `DATA/secret.key`, which the first start makes.

use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use windlass_server::seal::{Seal, SealError};
use windlass_store::Store;

use crate::failure::{Doing as _, Failure};

/// The variable that holds the key itself.
const VARIABLE: &str = "WINDLASS_SECRET_KEY";

/// A key and where it came from.
struct Key {
    bytes: [u8; 32],
    from: Origin,
}

enum Origin {
    Variable,
    File(PathBuf),
    /// A file that was not there before.
    Made(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Variable => f.write_str(VARIABLE),
            Origin::File(path) | Origin::Made(path) => path.display().fmt(f),
        }
    }
}

/// The seal of the store in `data`, with the key in the environment, or in `file`, or in the directory itself. With
/// `forget`, it need not be the key that the store knows.
pub(crate) async fn open(
    store: &dyn Store,
    data: &Path,
    file: Option<&Path>,
    forget: bool,
) -> Result<Seal, Failure> {
    let key = find(std::env::var(VARIABLE).ok().filter(|v| !v.is_empty()), data, file)?;
    match Seal::open(store, &key.bytes, forget).await {
        Ok(seal) => Ok(seal),
        Err(SealError::Store(e)) => Err(e.into()),
        Err(SealError::WrongKey) => {
            let (at, data) = (&key.from, data.display());
            let what = match &key.from {
                Origin::Made(path) => {
                    // Nothing was sealed with it, and the one that belongs there may be put back.
                    std::fs::remove_file(path)?;
                    format!("the secrets in {data} were sealed with a key that is not there: {at} is missing")
                }
                _ => format!("the key in {at} is not the one that the secrets in {data} were sealed with"),
            };
            Err(Failure::new(what).fix(format!(
                "put the right key there, or name it with --set secret_key_file=FILE or {VARIABLE}; if it is lost, start once \
                 with --forget-secrets: packages with env_vars then fail until these are uploaded again"
            )))
        }
    }
}

fn find(variable: Option<String>, data: &Path, file: Option<&Path>) -> Result<Key, Failure> {
    if let Some(text) = variable {
        return Ok(Key { bytes: parse(&text, &VARIABLE)?, from: Origin::Variable });
    }
    let path = file.map_or_else(|| data.join("secret.key"), Path::to_owned);
    let doing = format!("read the secret key in {}", path.display());
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Key { bytes: parse(&text, &path.display())?, from: Origin::File(path) }),
        Err(e) if e.kind() == ErrorKind::NotFound && file.is_none() => {
            let bytes = windlass_server::ids::secret();
            write(&path, &bytes).doing(format_args!("write {}", path.display()))?;
            Ok(Key { bytes, from: Origin::Made(path) })
        }
        Err(e) => Err(Failure::from(e).fix(
            "name a file that this user may read with --set secret_key_file=FILE; `openssl rand -hex 32` makes a key",
        ))
        .doing(doing),
    }
}

fn parse(text: &str, from: &dyn fmt::Display) -> Result<[u8; 32], Failure> {
    let text = text.trim();
    let pair = |i: usize| text.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..32).map(pair).collect();
    let is_whole = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    match bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        Some(bytes) if is_whole => Ok(bytes),
        _ => Err(Failure::new(format_args!("the secret key in {from} is not 64 hexadecimal digits"))
            .fix("`openssl rand -hex 32` makes one")),
    }
}

/// For the owner alone, and on the disk before anything is sealed with it.
fn write(path: &Path, key: &[u8; 32]) -> Result<(), Failure> {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".secret.key").tempfile_in(folder)?;
    file.write_all(format!("{digits}\n").as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|e| Failure::from(e.error))?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
