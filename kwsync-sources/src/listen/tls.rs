//! TLS by rustls with ring.

use std::sync::Arc;

use kwsync_core::{Error, ErrorKind, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::ListenOptions;

/// What lets clients in by TLS; `None` without.
pub(super) fn acceptor(options: &ListenOptions) -> Result<Option<TlsAcceptor>> {
    let Some((cert, key)) = &options.identity else { return Ok(None) };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(cert.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::config(format!("cert holds no certificates in PEM form: {error}")))?;
    if certificates.is_empty() {
        return Err(Error::config("cert holds no certificates").with_hint("a file is given as cert=@FILE"));
    }
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|error| Error::config(format!("key holds no key in PEM form: {error}")))?;
    // A provider of our own: the process may have another default, or two and none chosen.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS cannot be set up").with_source(error))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| Error::config("cert and key do not fit together").with_source(error))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
