//! What a package may hold. Servers check it of what is uploaded and runners again of what they unpack, by the same
//! rules, so that what was taken can be run.

/// Most files and folders in a package. Servers may be set to take fewer, not more.
pub const MAX_ENTRIES: usize = 20_000;

/// Most bytes of a package's content, where nothing else is set.
pub const DEFAULT_UNPACKED_BYTES: u64 = 2 << 30;

/// Most bytes of one part of a path: what file systems on Linux take.
const MAX_PART_BYTES: usize = 255;

/// Why a name in a package is not taken; completes "entry …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// It starts with a slash.
    #[error("is absolute")]
    Absolute,
    /// It holds a backslash, which is a separator for some and part of a name for others.
    #[error("holds a backslash")]
    Backslash,
    /// It holds a zero byte.
    #[error("holds a zero byte")]
    Zero,
    /// It holds `..`.
    #[error("leads out of the package")]
    Climbs,
    /// It is that of a file, and empty.
    #[error("names no file")]
    Empty,
    /// A part of it is longer than file systems take.
    #[error("is too long")]
    TooLong,
}

/// The path below the package's folder that an entry's name stands for: parts between single slashes, empty for the
/// folder itself. A name that ends with a slash is that of a folder.
pub fn path_of(name: &str) -> Result<String, NameFault> {
    if name.starts_with('/') {
        return Err(NameFault::Absolute);
    }
    if name.contains('\\') {
        return Err(NameFault::Backslash);
    }
    if name.contains('\0') {
        return Err(NameFault::Zero);
    }
    let mut path = String::with_capacity(name.len());
    for part in name.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(NameFault::Climbs);
        }
        if part.len() > MAX_PART_BYTES {
            return Err(NameFault::TooLong);
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    if path.is_empty() && !name.ends_with('/') {
        return Err(NameFault::Empty);
    }
    Ok(path)
}

/// Paths of a package, to see whether they can be beside each other.
#[derive(Debug, Default)]
pub struct Paths(Vec<(String, bool)>);

impl Paths {
    /// Takes in a path, as [`path_of`] returns it, of a file or of a folder.
    pub fn add(&mut self, path: &str, is_file: bool) {
        // A zero byte, which no path holds, sorts what is in a folder right behind it.
        self.0.push((path.replace('/', "\0"), is_file));
    }

    /// A path that is a file and something else, too: the same file again, or a folder.
    pub fn conflict(mut self) -> Option<String> {
        self.0.sort_unstable();
        let both = self.0.windows(2).find_map(|pair| {
            let [(first, first_is_file), (second, second_is_file)] = pair else { return None };
            let is_same = first == second && (*first_is_file || *second_is_file);
            let is_within =
                *first_is_file && second.strip_prefix(first).is_some_and(|rest| rest.starts_with('\0'));
            (is_same || is_within).then_some(first)
        });
        both.map(|path| path.replace('\0', "/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_below_the_folder() {
        for (name, path) in [
            ("a", Ok("a")),
            ("./a//b/./c", Ok("a/b/c")),
            ("a/", Ok("a")),
            ("./", Ok("")),
            ("..a/b..", Ok("..a/b..")),
            ("", Err(NameFault::Empty)),
            (".", Err(NameFault::Empty)),
            ("/a", Err(NameFault::Absolute)),
            ("a\\b", Err(NameFault::Backslash)),
            ("a\0", Err(NameFault::Zero)),
            ("a/../b", Err(NameFault::Climbs)),
            ("..", Err(NameFault::Climbs)),
        ] {
            assert_eq!(path_of(name), path.map(str::to_owned), "{name:?}");
        }
        assert_eq!(path_of(&format!("a/{}", "é".repeat(128))), Err(NameFault::TooLong));
        assert!(path_of(&format!("a/{}", "e".repeat(255))).is_ok());
    }

    #[test]
    fn a_file_has_its_path_for_itself() {
        let conflict = |entries: &[(&str, bool)]| {
            let mut paths = Paths::default();
            entries.iter().for_each(|(path, is_file)| paths.add(path, *is_file));
            paths.conflict()
        };
        let (file, folder) = (true, false);
        assert_eq!(conflict(&[]), None);
        assert_eq!(
            conflict(&[("a/b", file), ("a", folder), ("a", folder), ("a b", file), ("a.b/c", file)]),
            None
        );
        assert_eq!(conflict(&[("x/a", file), ("b", file), ("x/a", file)]), Some("x/a".to_owned()));
        assert_eq!(conflict(&[("a", file), ("a", folder)]), Some("a".to_owned()));
        assert_eq!(
            conflict(&[("a b", file), ("a/b/c", file), ("a-b", file), ("a", file)]),
            Some("a".to_owned())
        );
    }
}
