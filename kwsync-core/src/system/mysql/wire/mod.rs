//! A connection of our own to MySQL and MariaDB, for reading in bulk.
//!
//! It exists beside mysql_async for what that client does not offer: rows as they lie in the packets, from which
//! values go straight into columns. A [`Cell`] borrows from its packet; nothing is allocated for a row. The packets
//! other than rows are read and written by mysql_common, the crate that mysql_async itself is made of.
//!
//! It signs in by `mysql_native_password` and `caching_sha2_password`; where a server asks for something else,
//! [`Connection::connect`] says so and nothing is lost: the caller takes mysql_async's session.
//!
//! [`Connection`] is one session; it is used by one task at a time and drives its own socket, so there is no background
//! task. A future that is dropped in the middle of an exchange leaves the connection [broken](Connection::is_broken);
//! open another then.

mod binlog;
mod cell;
mod connection;
mod input;
mod rows;
mod startup;
#[cfg(test)]
mod tests;

pub use binlog::{BinlogRequest, BinlogStream};
pub use cell::{Cell, Malformed};
pub use connection::{Connected, Connection};
pub use rows::{Cells, Row, Rows};
