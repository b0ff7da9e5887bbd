//! JSON by a mapping, as taosX's parsers are written: which values of a message become which columns of which tables.
//!
//! ```json
//! {
//!   "parse": {
//!     "ts": {"as": "timestamp(ms)"},
//!     "topic": {"as": "varchar", "alias": "t"},
//!     "value": {"json": [
//!       {"name": "$.data.id", "alias": "id", "cast": "INT"},
//!       "message::varchar(20)"
//!     ]}
//!   },
//!   "model": [{"name": "d{id}", "using": "meters", "columns": ["ts", "message"], "tags": ["t"]}]
//! }
//! ```
//!
//! `ts`, `topic`, `partition`, `offset`, `key` and `headers` (a JSON object) are what the message carries beside its bytes; `value` or `payload`
//! are the bytes: as JSON, or with `as` as one text.

mod config;
mod decode;
mod path;
mod types;

pub use config::Mapping;
pub use decode::{MappingDecoder, MappingOptions, Subtables};
