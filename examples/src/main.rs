//! The `kwsync` command: arguments in, a job spec out, the libraries do the rest, a report at the end.

mod cli;

use std::process::ExitCode;

/// Batches come and go by the megabyte. The system's allocator gives each back to the kernel, whose page faults then
/// cost a third of the time of a load; this one keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
