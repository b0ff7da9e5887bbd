//! Sources for kwsync pipelines, one folder and one feature each.
//!
//! | feature | source | default |
//! |---|---|---|
//! | `file` | files, patterns, directories, standard input; plain or gzip | yes |
//! | `ipc` | Arrow IPC files and streams, by the source `file` | yes |
//! | `kafka` | messages of Kafka | |
//! | `kwdb` | time series, relational tables and queries of KWDB | |
//! | `listen` | HTTP and telnet endpoints, as InfluxDB and OpenTSDB have them | |
//! | `mqtt` | messages of MQTT brokers | |
//! | `mysql` | tables and queries of MySQL and MariaDB | |
//! | `odbc` | whatever has an ODBC driver: Oracle, SQL Server and others; needs unixODBC | in no other feature |
//! | `parquet` | Parquet files, by the source `file` | yes |
//! | `postgres` | tables and queries of PostgreSQL | |
//!
//! [`register`] adds all of them to a registry.

#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kwdb")]
pub mod kwdb;
#[cfg(feature = "listen")]
pub mod listen;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "odbc")]
pub mod odbc;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "mysql", feature = "odbc", feature = "postgres"))]
mod relational;

use kwsync_core::config::Registry;

/// Adds every source of this build to `registry`.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "file")]
    file::register(registry);
    #[cfg(feature = "kafka")]
    kafka::register(registry);
    #[cfg(feature = "kwdb")]
    kwdb::register(registry);
    #[cfg(feature = "listen")]
    listen::register(registry);
    #[cfg(feature = "mqtt")]
    mqtt::register(registry);
    #[cfg(feature = "mysql")]
    mysql::register(registry);
    #[cfg(feature = "odbc")]
    odbc::register(registry);
    #[cfg(feature = "postgres")]
    postgres::register(registry);
    #[cfg(not(any(
        feature = "file",
        feature = "kafka",
        feature = "listen",
        feature = "mqtt",
        feature = "mysql",
        feature = "odbc",
        feature = "postgres"
    )))]
    let _ = registry;
}
