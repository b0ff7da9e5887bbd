//! TLS by rustls with ring.

use std::sync::Arc;

use kwsync_core::{Error, ErrorKind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::MqttOptions;

/// What to present and what to check; `None` without TLS.
pub(super) fn config(options: &MqttOptions) -> Result<Option<Arc<ClientConfig>>> {
    let Some(ca) = &options.ca else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", ca)? {
        roots
            .add(certificate)
            .map_err(|error| Error::config("a certificate of ca cannot be used").with_source(error))?;
    }
    // A provider of our own: the process may have another default, or two and none chosen.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots);
    let config = match &options.identity {
        Some((cert, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                .map_err(|error| Error::config(format!("cert_key holds no key in PEM form: {error}")))?;
            builder
                .with_client_auth_cert(certificates("cert", cert)?, key)
                .map_err(|error| Error::config("cert and cert_key do not fit together").with_source(error))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

fn certificates(name: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::config(format!("{name} holds no certificates in PEM form: {error}")))?;
    if found.is_empty() {
        return Err(Error::config(format!("{name} holds no certificates"))
            .with_hint(format!("a file is given as {name}=@FILE")));
    }
    Ok(found)
}
