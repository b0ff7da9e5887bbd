//! ClickHouse: types, names and literals.

pub mod sql;
pub mod types;
