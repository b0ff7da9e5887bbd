//! Apache IoTDB, as source and sink share it: paths, types, sessions by its client RPC (Thrift), results.
//!
//! The protocol is that of `client.thrift`, version 3, as servers from 1.2 on speak it: framed messages of Thrift's binary
//! encoding, results as serialized `TsBlock`s, rows as tablets.

mod block;
mod path;
mod rpc;
mod session;
mod status;
mod tablet;
#[cfg(test)]
mod tests;
mod types;

pub use block::date_number;
pub use path::{Path, quoted};
pub use rpc::Status;
pub use session::{ConnectConfig, DEFAULT_PORT, Query, Session};
pub use status::{error_of, place_of};
pub use tablet::Tablet;
pub use types::SeriesType;

/// The column that holds the path of a row's device, where rows are IoTDB's own.
pub const DEVICE_COLUMN: &str = "device";

const DEVICE_OF: &str = "device of IoTDB's ";
const ALIGNED_DEVICE_OF: &str = "aligned device of IoTDB's ";

/// The comment of [that column](DEVICE_COLUMN): by it a sink knows the database that the devices come from, and whether to make
/// them aligned.
pub fn device_comment(database: &Path, aligned: bool) -> String {
    format!("{}{database}", if aligned { ALIGNED_DEVICE_OF } else { DEVICE_OF })
}

/// What such a [comment](device_comment) says: the database, and whether the devices are aligned.
pub fn of_device_comment(comment: &str) -> Option<(Path, bool)> {
    let (database, aligned) = match comment.strip_prefix(ALIGNED_DEVICE_OF) {
        Some(database) => (database, true),
        None => (comment.strip_prefix(DEVICE_OF)?, false),
    };
    Some((database.parse().ok()?, aligned))
}
