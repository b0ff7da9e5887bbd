//! TLS by rustls with ring.

use std::sync::Arc;

use kwsync_core::config::Secret;
use kwsync_core::{Error, ErrorKind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// What to check and what to present: `roots` are the authorities to trust, `identity` our own certificate and its key (PEM).
pub(crate) fn client_config(
    roots: RootCertStore,
    identity: Option<(&str, &Secret)>,
) -> Result<Arc<ClientConfig>> {
    // A provider of our own: the process may have another default, or two and none chosen.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots);
    let config = match identity {
        Some((cert, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                .map_err(|error| Error::config(format!("cert_key holds no key in PEM form: {error}")))?;
            builder
                .with_client_auth_cert(certificates("cert", cert)?, key)
                .map_err(|error| Error::config("cert and cert_key do not fit together").with_source(error))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// The authorities of `ca=`, a text in PEM form.
pub(crate) fn roots_of(ca: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", ca)? {
        roots
            .add(certificate)
            .map_err(|error| Error::config("a certificate of ca cannot be used").with_source(error))?;
    }
    Ok(roots)
}

/// The authorities that this machine trusts.
#[cfg(any(feature = "clickhouse", feature = "influxdb", feature = "mongodb", feature = "opentsdb"))]
pub(crate) fn roots_of_machine() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Some of a machine's certificates are always too odd to be used.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::new(ErrorKind::Tls, "this machine trusts no authorities")
            .with_hint("install the package ca-certificates, or give the authorities: ca=@ca.crt"));
    }
    Ok(roots)
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
