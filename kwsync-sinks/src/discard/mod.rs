//! A sink that counts rows and drops them: for measuring sources and checking input.

mod sink;
#[cfg(test)]
mod tests;

pub use sink::{DiscardSink, DiscardWriter};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the sink `discard` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::sink("discard", "counts rows and drops them").with_aliases(&["null"]);
    registry.register_sink(info, |_| Ok(Box::new(DiscardSink::new())));
}
