//! Runs a program as confined as a task's, in the namespaces that are there: for tests and measurements.
//!
//! `windlass-confined WRITABLE:FOLDERS PROGRAM ARGUMENTS…`

use std::ffi::{CStr, CString};
use std::os::unix::process::CommandExt as _;

use windlass_runner::sandbox::confinement::Confinement;

fn main() -> std::io::Result<()> {
    let mut words = std::env::args();
    let (Some(folders), Some(program)) = (words.nth(1), words.next()) else {
        return Err(std::io::Error::other("name the writable folders and a program"));
    };
    let folders: Vec<CString> = folders.split(':').map(CString::new).collect::<Result<_, _>>()?;
    let folders: Vec<&CStr> = folders.iter().map(CString::as_c_str).collect();
    Confinement::prepare()?.apply(c"/", &folders)?;
    Err(std::process::Command::new(program).args(words).exec())
}
