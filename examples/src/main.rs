//! The `kwsync` command: arguments in, a job spec out, the libraries do the rest, a report at the end.

mod cli;
mod memory;

use std::process::ExitCode;

fn main() -> ExitCode {
    memory::keep();
    cli::main()
}
