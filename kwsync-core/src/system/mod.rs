//! What a source and a sink of one system share: types and DDL as data, and behind the system's feature its client.

pub mod clickhouse;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "iotdb")]
pub mod iotdb;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod kwdb;
pub mod made;
pub mod mysql;
#[cfg(feature = "object")]
pub mod object;
pub mod postgres;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod stream;
pub mod tdengine;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod tls;
#[cfg(feature = "trust")]
pub mod trust;
