//! The PostgreSQL of a run, on a port of its own.

use std::net::TcpListener;

use windlass_scratch::Postgres;

/// The crash of a host is not among the faults.
const SETTINGS: [&str; 4] =
    ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=64MB", "max_connections=80"];

/// A port below those that connections are given, so that nobody takes it while the server is away.
fn free_port() -> u16 {
    let start = 20_000 + u16::try_from(std::process::id() % 10_000).expect("it is below 10,000");
    (start..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

/// A server that listens on a free port, and where.
pub(crate) fn start() -> (Postgres, String) {
    let port = free_port();
    (Postgres::start_on(port, &SETTINGS).unwrap(), format!("tcp://127.0.0.1:{port}"))
}

/// Runs SQL and returns what it says, unaligned; nothing if it cannot.
pub(crate) fn sql(database: &Postgres, sql: &str) -> Option<String> {
    database.sql("postgres", sql).ok()
}
