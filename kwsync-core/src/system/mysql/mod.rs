//! MySQL and MariaDB: types and DDL; with the feature `mysql` also sessions and the catalog.

#[cfg(feature = "mysql")]
pub mod binlog;
#[cfg(feature = "mysql")]
pub mod catalog;
pub mod ddl;
pub mod defaults;
#[cfg(feature = "mysql")]
pub mod keys;
#[cfg(feature = "mysql")]
pub mod session;
pub mod types;
#[cfg(feature = "mysql")]
pub mod wire;
