//! Integration tests; one binary.

mod inputs;
mod line_reference;
mod number;
