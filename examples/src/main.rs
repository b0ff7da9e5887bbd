//! The `kwsync` command: arguments in, a job spec out, the libraries do the rest, a report at the end.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
