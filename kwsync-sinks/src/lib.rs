//! Sinks for kwsync pipelines, one folder and one feature each.
//!
//! | feature | sink | default |
//! |---|---|---|
//! | `file` | directories of Parquet files, JSON lines and other formats | yes |
//! | `discard` | counts rows and drops them | yes |
//!
//! [`register`] adds all of them to a registry.

#[cfg(feature = "discard")]
pub mod discard;
#[cfg(feature = "file")]
pub mod file;

use kwsync_core::config::Registry;

/// Adds every sink of this build to `registry`.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "discard")]
    discard::register(registry);
    #[cfg(feature = "file")]
    file::register(registry);
    #[cfg(not(any(feature = "discard", feature = "file")))]
    let _ = registry;
}
