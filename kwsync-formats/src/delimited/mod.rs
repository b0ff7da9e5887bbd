//! Delimited text: PostgreSQL's TEXT and CSV, with every option of COPY, Greenplum's own among them.

mod boundary;
mod cells;
mod charset;
mod config;
mod decode;
mod encode;
mod infer;
mod options;
mod read;
mod scan;
mod split;

pub(crate) use config::register;
pub use decode::DelimitedDecoder;
pub use encode::DelimitedEncoder;
pub use options::{Columns, DelimitedOptions, Form, Header, Newline};
pub use read::{ReadOptions, Types};
