//! The `kwsync` command as a library: the place where sources, formats and sinks are put together.
