//! KWDB's time series as SQL: INSERT statements of literals, which its server takes by its quickest way.

mod insert;
mod types;

pub use insert::{InsertColumn, InsertEncoder, InsertOptions};
pub use types::SeriesType;
