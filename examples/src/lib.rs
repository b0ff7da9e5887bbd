//! The `kwsync` command as a library: the place where sources, formats and sinks are put together.
//!
//! A program that wants a pipeline with all of this build's connectors calls [`registry`] and [`run`]; one that
//! wants only some of them registers those itself.
//!
//! ```no_run
//! use kwsync_core::spec::PipelineSpec;
//!
//! # async fn load() -> kwsync_core::Result<()> {
//! let spec = PipelineSpec::new("metrics.lp", "file:out?format=parquet");
//! let report = kwsync::run(&spec, &kwsync::registry()).await?.into_result()?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```

mod job;
pub mod pipes;
pub mod verify;

pub use job::{Job, Preview, state_dir};

use kwsync_core::config::Registry;
use kwsync_core::spec::PipelineSpec;
use kwsync_core::{Outcome, Result};

/// Every source, sink and format of this build.
pub fn registry() -> Registry {
    let mut registry = Registry::new();
    kwsync_formats::register(&mut registry);
    kwsync_sources::register(&mut registry);
    kwsync_sinks::register(&mut registry);
    registry
}

/// Runs a job to its end.
///
/// # Errors
/// `Config` and the like while the job is put together, before anything is touched. What happens later is in the
/// [`Outcome`].
///
/// # Cancel safety
/// Dropping the future stops the job at once; it can be resumed. Use [`Job`] to stop gracefully.
pub async fn run(spec: &PipelineSpec, registry: &Registry) -> Result<Outcome> {
    Job::new(spec, registry)?.run().await
}
