//! What tests of more than one crate share: real servers that start in a temporary folder and never outlive the
//! test process. Behind the feature `testkit`; no part of the stable API.

mod clickhouse;
mod influx;
mod iotdb;
mod kafka;
#[cfg(feature = "testkit-kwdb")]
pub mod kwdb;
mod mariadb;
mod mongo;
mod mosquitto;
mod postgres;
mod s3;
pub mod tdengine;

pub use clickhouse::ClickHouseServer;
pub use influx::InfluxServer;
pub use iotdb::IotdbServer;
pub use kafka::KafkaServer;
pub use mariadb::MariaServer;
pub use mongo::{MongoDocument, MongoServer};
pub use mosquitto::Mosquitto;
pub use postgres::PgServer;
pub use s3::{ACCESS_KEY, S3Server, SECRET_KEY, SlowWay};
