//! Sources for kwsync pipelines, one folder and one feature each.
//!
//! | feature | source | default |
//! |---|---|---|
//! | `clickhouse` | tables and queries of ClickHouse | |
//! | `file` | files, patterns, directories, standard input; plain or gzip | yes |
//! | `influxdb` | measurements of InfluxDB 1 and 2 | |
//! | `iotdb` | devices of Apache IoTDB | |
//! | `ipc` | Arrow IPC files and streams, by the source `file` | yes |
//! | `kafka` | messages of Kafka | |
//! | `kwdb` | time series, relational tables and queries of KWDB | |
//! | `listen` | HTTP and telnet endpoints, as InfluxDB and OpenTSDB have them | |
//! | `mongodb` | collections of MongoDB | |
//! | `mqtt` | messages of MQTT brokers | |
//! | `mysql` | tables and queries of MySQL and MariaDB | |
//! | `odbc` | whatever has an ODBC driver: Oracle, SQL Server and others; needs unixODBC | in no other feature |
//! | `object` | objects of S3, OSS and what speaks like them; plain or gzip | |
//! | `opcua` | nodes of OPC UA servers | |
//! | `opentsdb` | metrics of OpenTSDB | |
//! | `parquet` | Parquet files, by the source `file` | yes |
//! | `postgres` | tables and queries of PostgreSQL | |
//! | `tdengine` | supertables and tables of TDengine 3 | |
//!
//! [`register`] adds all of them to a registry.

#[cfg(feature = "clickhouse")]
pub mod clickhouse;
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
#[cfg(feature = "mongodb")]
pub mod mongodb;
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
    feature = "iotdb",
    feature = "mongodb",
    feature = "mysql",
    feature = "odbc",
    feature = "postgres",
    feature = "series"
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
#[cfg(feature = "series")]
#[cfg_attr(
    not(feature = "influxdb"),
    allow(
        dead_code,
        unused_imports,
        reason = "fields of several types are InfluxDB's, and ClickHouse is no source of series: it has their client"
    )
)]
mod series;
#[cfg(feature = "tdengine")]
pub mod tdengine;

use kwsync_core::config::Registry;

/// Adds every source of this build to `registry`.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "clickhouse")]
    clickhouse::register(registry);
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
    #[cfg(feature = "mongodb")]
    mongodb::register(registry);
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
    #[cfg(feature = "tdengine")]
    tdengine::register(registry);
    #[cfg(not(any(
        feature = "clickhouse",
        feature = "file",
        feature = "influxdb",
        feature = "iotdb",
        feature = "kafka",
        feature = "listen",
        feature = "mongodb",
        feature = "mqtt",
        feature = "mysql",
        feature = "odbc",
        feature = "opcua",
        feature = "opentsdb",
        feature = "postgres",
        feature = "tdengine"
    )))]
    let _ = registry;
}
