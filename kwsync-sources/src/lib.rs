//! Sources for kwsync pipelines, one folder and one feature each.
//!
//! | feature | source | default |
//! |---|---|---|
//! | `file` | files, patterns, directories, standard input; plain or gzip | yes |
//! | `influxdb` | measurements of InfluxDB 1 and 2 | |
//! | `iotdb` | devices of Apache IoTDB | |
//! | `ipc` | Arrow IPC files and streams, by the source `file` | yes |
//! | `kafka` | messages of Kafka | |
//! | `kwdb` | time series, relational tables and queries of KWDB | |
//! | `listen` | HTTP and telnet endpoints, as InfluxDB and OpenTSDB have them | |
//! | `mqtt` | messages of MQTT brokers | |
//! | `mysql` | tables and queries of MySQL and MariaDB | |
//! | `odbc` | whatever has an ODBC driver: Oracle, SQL Server and others; needs unixODBC | in no other feature |
//! | `object` | objects of S3, OSS and what speaks like them; plain or gzip | |
//! | `opcua` | nodes of OPC UA servers | |
//! | `opentsdb` | metrics of OpenTSDB | |
//! | `parquet` | Parquet files, by the source `file` | yes |
//! | `postgres` | tables and queries of PostgreSQL | |
//!
//! [`register`] adds all of them to a registry.

#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "influxdb")]
pub mod influxdb;
#[cfg(feature = "iotdb")]
pub mod iotdb;
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
#[cfg(feature = "object")]
pub mod object;
#[cfg(feature = "odbc")]
pub mod odbc;
#[cfg(feature = "opcua")]
pub mod opcua;
#[cfg(feature = "opentsdb")]
pub mod opentsdb;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(
    feature = "influxdb",
    feature = "iotdb",
    feature = "mysql",
    feature = "odbc",
    feature = "opentsdb",
    feature = "postgres"
))]
#[cfg_attr(
    not(any(feature = "mysql", feature = "odbc", feature = "postgres")),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "a source of series alone reads by the cursor and needs no more"
    )
)]
mod relational;
#[cfg(any(feature = "influxdb", feature = "opentsdb"))]
#[cfg_attr(
    not(feature = "influxdb"),
    allow(dead_code, unused_imports, reason = "fields of several types are InfluxDB's")
)]
mod series;
#[cfg(any(feature = "influxdb", feature = "mqtt", feature = "opentsdb"))]
mod tls;

use kwsync_core::config::Registry;

/// Adds every source of this build to `registry`.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "file")]
    file::register(registry);
    #[cfg(feature = "influxdb")]
    influxdb::register(registry);
    #[cfg(feature = "iotdb")]
    iotdb::register(registry);
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
    #[cfg(feature = "object")]
    object::register(registry);
    #[cfg(feature = "odbc")]
    odbc::register(registry);
    #[cfg(feature = "opcua")]
    opcua::register(registry);
    #[cfg(feature = "opentsdb")]
    opentsdb::register(registry);
    #[cfg(feature = "postgres")]
    postgres::register(registry);
    #[cfg(not(any(
        feature = "file",
        feature = "influxdb",
        feature = "iotdb",
        feature = "kafka",
        feature = "listen",
        feature = "mqtt",
        feature = "mysql",
        feature = "odbc",
        feature = "opcua",
        feature = "opentsdb",
        feature = "postgres"
    )))]
    let _ = registry;
}
