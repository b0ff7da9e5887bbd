//! Tests against real servers, and of the forms that jobs are written in. `cargo test --all-features`
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[cfg(feature = "jobs")]
mod golden;
#[cfg(all(feature = "postgres", feature = "testkit", unix))]
mod type_mapping;
#[cfg(all(feature = "postgres", feature = "testkit", unix))]
mod wire;
