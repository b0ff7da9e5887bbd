//! MySQL and MariaDB, by LOAD DATA LOCAL or INSERT of many rows.
//!
//! All rows between two commits are one transaction. What a column cannot hold exactly is a reject of its row: the
//! server alone would round decimals, floats and parts of a second without a word. A row that the server refuses is found by
//! halves, since a refused statement leaves nothing behind.

mod checkpoint;
mod config;
mod literal;
mod load;
mod made;
mod sink;
mod target;
#[cfg(test)]
mod tests;
mod writer;

pub use config::{DeliveryMode, Mode, MysqlOptions, PARAMS, Strategy};
pub use sink::MysqlSink;
pub use writer::MysqlWriter;

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the sink `mysql` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::sink("mysql", "MySQL and MariaDB, by LOAD DATA LOCAL or INSERT of many rows")
        .with_aliases(&["mariadb"])
        .with_params(PARAMS);
    registry.register_sink(info, |request| {
        let options = MysqlOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(MysqlSink::new(options)))
    });
}
