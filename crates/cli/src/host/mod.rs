//! Running a server, a runner, or both, in this process.
//!
//! | module | holds |
//! |---|---|
//! | [`server`] | from a data directory to a server that listens |
//! | [`address`] | where clients reach it, and what they must believe |
//! | [`credentials`] | the first project and token, and `iron.json` |
//! | [`secret_key`] | what secrets in the data directory are sealed with |
//! | [`in_process`] | the runner's way to a server in the same process |
//! | [`runner_token`] | what that runner may do, and for how long |
//! | [`open_files`] | the limit of open files |
//! | [`stop`] | signals |
//! | [`logging`] | where logs go |

pub(crate) mod address;
pub(crate) mod credentials;
pub(crate) mod in_process;
pub(crate) mod logging;
pub(crate) mod open_files;
pub(crate) mod runner_token;
pub(crate) mod secret_key;
pub(crate) mod server;
pub(crate) mod stop;
