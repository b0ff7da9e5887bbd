//! JSON.

pub mod escape;
