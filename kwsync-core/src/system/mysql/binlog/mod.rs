//! The binary log of MySQL and MariaDB: its events, the tables and rows in them, and what its statements say.
//!
//! All of it is bytes that come from elsewhere: nothing here panics, and nothing is allocated by a number that a packet
//! promises. mysql_common has a reader of the log as well; it trusts its input more than that, makes a value of its own
//! of everything, and knows neither the compressed events of MariaDB nor how servers print JSON.
//!
//! Versions 1 and 2 of row events are read, which MySQL writes since 5.1.18 and 5.6, and MariaDB always in version 1; the
//! format: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html>,
//! <https://mariadb.com/kb/en/2-binlog-event-header/>.

mod bytes;
mod event;
mod inflate;
mod json;
mod statement;
mod table_map;
#[cfg(test)]
mod tests;
mod value;

pub use event::{Decoder, Event, Flavor, Header, Query, Rows, RowsKind};
pub use json::{double, write_json};
pub use statement::{Name, Statement};
pub use table_map::{MapColumn, TableMap};
pub use value::{Image, Raw, write_decimal};
