//! Types and contracts of kwsync: schemas, batches whose rows know their origin, errors, decoders, sources,
//! sinks and the pipelines that join them.

pub mod config;
mod error;

pub use error::{
    Backoff, Delivered, Error, ErrorKind, Location, Position, Result, Retry, SqlStateClass, caret,
    classify_sqlstate,
};
