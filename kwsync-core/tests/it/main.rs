//! Tests against real servers. `cargo test --all-features`
#![cfg(all(feature = "postgres", feature = "testkit", unix))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod type_mapping;
mod wire;
