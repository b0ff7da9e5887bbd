//! Counters on a port, as Prometheus reads them.

use std::net::SocketAddr;

use kwsync_core::{Error, Result};
use metrics_exporter_prometheus::PrometheusBuilder;

/// Answers `GET /` on `address` with the counters of this process, until it ends.
///
/// # Errors
/// `Config` when the address is in use or not of this machine.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    PrometheusBuilder::new().with_http_listener(address).install().map_err(|error| {
        Error::config(format!("cannot serve counters on {address}: {error}"))
            .with_hint("another program may have the port; give --metrics another one")
    })
}
