//! OPC UA servers.
//!
//! Nodes are watched by subscriptions, not read again and again: a server then tells of each change with its own time, and keeps changes
//! that come between two messages, as many as `queue` says. `interval` is how often it looks at a value and how often it tells; with
//! `sampling=0` it is asked for every change. A value is a row of a table for its type, with the time when it came, the time that the server
//! gives, and the status code; the name of its subtable is the column `tbname`.
//!
//! # What a fault costs
//! OPC UA keeps nothing for who is away. While the connection lasts nothing is lost that the server has seen: what has come is kept here until
//! it is committed, and when the target is away for a while it is given again, so delivery is at least once. A slow target makes the server
//! wait, up to its queues; what does not fit there is dropped by the server, which says so, and a warning says it here. While there is no
//! connection, or this program does not run, changes are lost, but for the last value of each node.
//!
//! # Who is trusted
//! Where `security_mode` is not `None`, the server is one whose own certificate was given (`server_certificate`), and nothing goes to another one
//! or in the clear. Lists of authorities are not looked at.

mod buffer;
mod collect;
mod config;
mod nodes;
mod plan;
mod points;
mod session;
mod source;
mod subscribe;
#[cfg(test)]
mod tests;
mod trust;
mod values;

pub use config::{OpcUaOptions, PARAMS, Security, SecurityMode, SecurityPolicy};
pub use points::Point;
pub use source::{OpcUaReader, OpcUaSource};
pub use trust::{Identity, Trust};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `opcua` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("opcua", "nodes of OPC UA servers, as their values change")
        .with_aliases(&["opc+ua"])
        .with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = OpcUaOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(OpcUaSource::new(options)))
    });
}
