//! What a source and a sink of one system share.

#[cfg(feature = "postgres")]
pub mod postgres;
