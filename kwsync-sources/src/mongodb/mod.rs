//! MongoDB: collections, by the wire protocol (OP_MSG).
//!
//! # Columns
//! Named columns are fields, or paths as `a.b` into documents within documents. Without names they are inferred from documents at the
//! beginning, and a field that was not among them is a reject, unless `unknown_fields=ignore` says otherwise.
//!
//! # Splits
//! A collection is cut into ranges of `_id`, each of which comes in its order; a position is the last `_id`.

mod bson;
mod columns;
mod config;
mod cursor;
mod infer;
mod plan;
mod reading;
mod scram;
mod session;
mod source;
#[cfg(test)]
mod tests;
mod written;

pub use config::{MongoDbOptions, PARAMS};
pub use source::{MongoDbReader, MongoDbSource};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `mongodb` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("mongodb", "collections of MongoDB").with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = MongoDbOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(MongoDbSource::new(options)))
    });
}
