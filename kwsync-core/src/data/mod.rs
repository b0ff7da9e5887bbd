//! Tables in memory: what a column is, what a row is, and batches whose rows know where they came from.

mod arrow;
mod batch;
mod change;
mod data_type;
mod default;
#[cfg(feature = "runtime")]
mod digest;
mod index;
mod origin;
mod row;
mod schema;
mod table_id;
#[cfg(test)]
mod tests;
mod value;

pub use batch::TableBatch;
pub use change::Change;
pub use data_type::{DataType, TimeUnit};
pub use default::ColumnDefault;
#[cfg(feature = "runtime")]
pub use digest::{Comparable, RowDigest};
pub use index::{ForeignKey, Index, IndexColumn, NameScope, ReferentialAction};
pub use origin::{Input, Origin, OriginBuilder, RecordRef, Segment};
pub use row::Row;
pub use schema::{Column, Role, Schema};
pub use table_id::TableId;
pub use value::{Value, civil_date};
