//! PostgreSQL and those that speak its protocol.

pub mod wire;
