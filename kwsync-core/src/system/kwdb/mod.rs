//! KWDB's own: tables of time series, with tags. Its relational databases are of the family of
//! [PostgreSQL](super::postgres).

pub mod ddl;
