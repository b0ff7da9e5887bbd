//! Tests against real servers. `cargo test --all-features`
#![cfg(all(feature = "postgres", feature = "testkit", unix))]

mod wire;
