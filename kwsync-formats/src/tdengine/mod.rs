//! TDengine's SQL: values of rows as literals.

mod cells;
mod literals;

pub use literals::{LiteralEncoder, LiteralOptions, LiteralTarget, Literals};
