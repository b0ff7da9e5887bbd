//! TDengine 3, as source and sink share it: types, names, DDL; and with the feature `tdengine` its REST interface, the
//! catalog, and what its refusals mean.
//!
//! What is spoken is the REST interface of taosAdapter (`/rest/sql`, port 6041), which every TDengine 3 brings. The native
//! protocol (port 6030) needs TDengine's own client library.

#[cfg(feature = "tdengine")]
mod child;
mod ddl;
mod names;
mod types;

#[cfg(feature = "tdengine")]
mod catalog;
#[cfg(feature = "tdengine")]
mod config;
#[cfg(feature = "tdengine")]
mod refusal;
#[cfg(feature = "tdengine")]
mod session;

pub use ddl::{Lengths, Parts, create_database, create_table};
pub use names::{CHILD_COLUMN, column_name, database_name, is_table_name, table_name, text_literal};
pub use types::{ColumnType, Features};

#[cfg(feature = "tdengine")]
pub use {
    catalog::{CatalogColumn, CatalogTable},
    child::child_name,
    config::{ConnectConfig, DEFAULT_PORT},
    refusal::{Refusal, RefusalClass},
    session::{Rows, Session},
};
