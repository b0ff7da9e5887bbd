//! The `kwsync` command.
fn main() {}
