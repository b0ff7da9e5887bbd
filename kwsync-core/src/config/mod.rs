//! Addresses, parameters with their documentation, secrets, and what can be connected.
//!
//! An address becomes a [`Dsn`], its `${NAME}` and `@path` are expanded ([`Expand`], only for what the
//! operator typed), and its parameters are checked against what the connector declares ([`Param`]) into
//! [`Params`]: all faults at once, before anything is touched.

mod dsn;
mod ending;
mod expand;
mod nearest;
mod param;
mod registry;
mod secret;

pub use dsn::{Dsn, Host};
pub use ending::format_by_ending;
pub use expand::Expand;
pub use nearest::did_you_mean;
#[cfg(feature = "jobs")]
pub(crate) use nearest::nearest;
pub use param::{Param, ParamType, Params, Provenance, Setting};
#[cfg(feature = "jobs")]
pub(crate) use param::{duration, parse_size};
pub use registry::{
    Chosen, ConnectorInfo, ConnectorKind, DeadLettersRequest, EncoderFactory, FormatRequest, OpenOptions,
    Registry, SinkRequest, SourceRequest,
};
pub use secret::Secret;
#[cfg(feature = "jobs")]
pub(crate) use secret::is_secret_name;

use crate::error::{Error, Result};

/// Faults of configuration, gathered so that the reader can mend all of them in one go.
#[derive(Debug, Default)]
struct Faults(Vec<Error>);

impl Faults {
    /// Keeps the error, if it is one.
    fn check(&mut self, result: Result<()>) {
        self.0.extend(result.err());
    }

    /// One error for all of them.
    fn finish(self, what: &str) -> Result<()> {
        let mut faults = self.0;
        if faults.len() <= 1 {
            return faults.pop().map_or(Ok(()), |fault| Err(fault.context(what)));
        }
        let messages: Vec<_> =
            faults.iter().enumerate().map(|(i, fault)| format!("({}) {}", i + 1, fault.message())).collect();
        let mut hints: Vec<_> = faults.iter().filter_map(Error::hint).collect();
        hints.dedup();
        let error = Error::config(format!("{what}: {} faults: {}", faults.len(), messages.join("; ")));
        Err(if hints.is_empty() { error } else { error.with_hint(hints.join("; ")) })
    }
}
