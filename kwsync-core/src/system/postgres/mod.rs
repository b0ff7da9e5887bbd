//! PostgreSQL and those that speak its protocol.

#[cfg(feature = "postgres")]
pub mod catalog;
pub mod ddl;
pub mod defaults;
#[cfg(feature = "postgres")]
pub mod keys;
pub mod profile;
#[cfg(feature = "postgres")]
pub mod relations;
pub mod types;
#[cfg(feature = "postgres")]
pub mod wire;
