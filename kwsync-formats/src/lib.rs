//! Fast zero-copy parsers and encoders between time-series protocols and Arrow batches.

#[cfg(feature = "arrow")]
pub mod adapt;
#[cfg(feature = "arrow")]
mod build;
#[cfg(feature = "arrow")]
mod calendar;
#[cfg(feature = "delimited")]
pub mod delimited;
#[cfg(any(feature = "kwdb", feature = "tdengine"))]
mod exact;
#[cfg(feature = "arrow")]
mod framing;
#[cfg(feature = "arrow")]
mod given;
pub mod influx;
#[cfg(any(feature = "json", feature = "parquet", feature = "delimited"))]
mod interval;
#[cfg(feature = "ipc")]
pub mod ipc;
pub mod json;
#[cfg(feature = "kwdb")]
pub mod kwdb;
#[cfg(feature = "arrow")]
pub mod opentsdb;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(feature = "pgcopy")]
pub mod pgcopy;
#[cfg(feature = "arrow")]
mod register;
#[cfg(feature = "tdengine")]
pub mod tdengine;
mod utf8;

#[cfg(feature = "arrow")]
pub use calendar::nanoseconds;
#[cfg(feature = "arrow")]
pub use framing::Limits;
#[cfg(feature = "arrow")]
pub use register::register;
