//! The command as its users run it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod analyticdb;
mod binlog;
mod changes;
mod clickhouse;
mod convert;
mod cut;
mod datax;
mod datax_kwdb;
mod datax_mysql;
mod demo;
mod faults;
mod follow;
mod forms;
mod influx;
mod iotdb;
mod json;
mod kafka;
mod keys;
mod kill;
mod load;
mod migrate;
mod modes;
mod mongodb;
mod mqtt;
mod object;
#[cfg(feature = "odbc")]
mod odbc;
mod opcua;
mod opentsdb;
mod pgfaults;
mod pipes;
mod postgres;
mod rejects;
mod round_trip;
mod serve;
mod source_faults;
mod spec;
mod support;
mod tdengine;
mod transforms;
mod watch;
mod whole;
