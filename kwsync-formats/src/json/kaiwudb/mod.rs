//! KaiwuDB's JSON: the columns, the tags and the rows of a table in one object.

mod decode;
mod encode;
mod header;

pub use decode::{KaiwudbJsonDecoder, KaiwudbJsonOptions};
pub use encode::KaiwudbJsonEncoder;
