//! A connection of our own to servers that speak PostgreSQL's protocol, version 3.0.
//!
//! It exists beside tokio-postgres for what bulk loading needs and that client does not offer: COPY through the
//! simple protocol (the only way into KWDB), errors of the server that are seen while COPY data is still being
//! sent, messages of megabytes without a copy, and every `sslmode`.
//!
//! [`Connection`] is one session; it is used by one task at a time and drives its own socket, so there is no
//! background task. A future that is dropped in the middle of an exchange leaves the connection
//! [broken](Connection::is_broken); open another then.

mod both;
mod config;
mod connection;
mod copy;
mod error;
mod pipeline;
mod query;
mod rows;
mod startup;
mod tls;

pub use both::CopyBoth;
pub use config::{ConnectConfig, Endpoint, SslMode};
pub use connection::{CancelToken, Connection, Notice};
pub use copy::{COPY_HEADER_BYTES, CopyIn, CopyOut};
pub use error::ServerError;
pub use pipeline::{Answer, Frame};
pub use query::{Described, QueryResult, Rows};
pub use rows::{Form, RowStream};
