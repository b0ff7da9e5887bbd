//! Sinks for kwsync pipelines, one folder and one feature each.
//!
//! | feature | sink | default |
//! |---|---|---|
//! | `file` | directories of Parquet files, JSON lines and other formats | yes |
//! | `discard` | counts rows and drops them | yes |
//! | `iotdb` | Apache IoTDB: devices and measurements, by tablets | in `full` |
//! | `kafka` | topics of Kafka | in `full` |
//! | `postgres` | PostgreSQL, by COPY BINARY | in `full` |
//! | `kwdb` | KWDB: time series by INSERT of literals, relational databases as `postgres` | in `full` |
//! | `mysql` | MySQL and MariaDB, by LOAD DATA LOCAL or INSERT of many rows | in `full` |
//! | `object` | objects in buckets of S3, OSS and what speaks like them | in `full` |
//! | `tdengine` | TDengine 3: supertables, subtables and tables, by INSERT of literals | in `full` |
//! | `tokio-postgres` | the same over a client of tokio-postgres that the caller brings | no |
//!
//! [`register`] adds all of them to a registry.

#[cfg(feature = "discard")]
pub mod discard;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "iotdb")]
pub mod iotdb;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kwdb")]
pub mod kwdb;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "object")]
pub mod object;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "tdengine")]
pub mod tdengine;

use kwsync_core::config::Registry;

/// Adds every sink of this build to `registry`.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "discard")]
    discard::register(registry);
    #[cfg(feature = "file")]
    file::register(registry);
    #[cfg(feature = "iotdb")]
    iotdb::register(registry);
    #[cfg(feature = "kafka")]
    kafka::register(registry);
    #[cfg(feature = "kwdb")]
    kwdb::register(registry);
    #[cfg(feature = "mysql")]
    mysql::register(registry);
    #[cfg(feature = "object")]
    object::register(registry);
    #[cfg(feature = "postgres")]
    postgres::register(registry);
    #[cfg(feature = "tdengine")]
    tdengine::register(registry);
    #[cfg(not(any(
        feature = "discard",
        feature = "file",
        feature = "iotdb",
        feature = "kafka",
        feature = "mysql",
        feature = "postgres",
        feature = "tdengine"
    )))]
    let _ = registry;
}
