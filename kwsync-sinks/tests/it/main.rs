//! The PostgreSQL sink against a real server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod copies;
#[cfg(feature = "kwdb")]
mod kwdb;
mod loader;
mod modes;
mod names;
mod order;
mod support;
mod types;
