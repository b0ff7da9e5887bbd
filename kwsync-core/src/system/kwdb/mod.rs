//! KWDB's own: tables of time series, with tags. Its relational databases are of the family of
//! [PostgreSQL](super::postgres).

#[cfg(feature = "postgres")]
pub mod catalog;
pub mod ddl;
