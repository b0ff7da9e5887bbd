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

/// The comment of [that column](DEVICE_COLUMN) where the devices are aligned, so that a sink makes them so again.
pub const ALIGNED_DEVICE: &str = "an aligned device of IoTDB";
