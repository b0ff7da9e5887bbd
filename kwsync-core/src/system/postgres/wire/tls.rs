//! TLS by rustls with ring, as each `sslmode` asks for.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::config::{ConnectConfig, SslMode};
use crate::system::tls::{Checks, add_roots, certificates};
use crate::{Error, ErrorKind, Result};

/// What to present and what to check.
pub(super) fn client_config(config: &ConnectConfig) -> Result<ClientConfig> {
    // A provider of our own: the process may have another default, or two and none chosen.
    let provider = Arc::new(ring::default_provider());
    let checks = match (config.ssl_mode, &config.ssl_root_cert) {
        (SslMode::VerifyFull, Some(path)) => chain(path, &provider)?.with_name(),
        (SslMode::VerifyCa | SslMode::Require, Some(path)) => chain(path, &provider)?,
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(Error::config("sslmode verify-ca and verify-full need the authorities to trust")
                .with_hint("give their certificates: sslrootcert=FILE"));
        }
        _ => Checks::none(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS cannot be set up").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(checks));
    match (&config.ssl_cert, &config.ssl_key) {
        (Some(cert), Some(key)) => {
            let certs = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| Error::config(format!("sslkey: no key in {}: {error}", key.display())))?;
            builder
                .with_client_auth_cert(certs, key)
                .map_err(|error| Error::config("sslcert and sslkey do not fit together").with_source(error))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(Error::config("sslcert and sslkey go together").with_hint("give both, or neither")),
    }
}

fn chain(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Checks> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, path)?;
    Checks::chain(roots, provider)
        .map_err(|error| Error::config("sslrootcert cannot be used").with_source(error))
}
