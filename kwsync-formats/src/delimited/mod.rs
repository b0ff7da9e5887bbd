//! Delimited text: PostgreSQL's TEXT and CSV, with every option of COPY, Greenplum's own among them.

mod cells;
mod charset;
mod encode;
mod options;

pub use encode::DelimitedEncoder;
pub use options::{Columns, DelimitedOptions, Form, Header, Newline};
