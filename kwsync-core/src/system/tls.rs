//! TLS by rustls with ring: what connections of our own have in common.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Error, Result};

/// The certificates of a file in PEM form.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let fault = |text: String| {
        Error::config(format!("cannot read certificates from {}: {text}", path.display()))
            .with_hint("the file must hold certificates in PEM form")
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|iter| iter.collect::<std::result::Result<_, _>>())
        .map_err(|error| fault(error.to_string()))?;
    if found.is_empty() { Err(fault("there is none".to_owned())) } else { Ok(found) }
}

/// Trusts the authorities of a file in PEM form.
pub(super) fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<()> {
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| {
            Error::config(format!("a certificate in {} cannot be used", path.display())).with_source(error)
        })?;
    }
    Ok(())
}

/// Checks of a server's certificate, from none to chain and name.
#[derive(Debug)]
pub(super) struct Checks {
    chain: Option<Arc<WebPkiServerVerifier>>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl Checks {
    /// None: any certificate will do.
    pub(super) fn none(provider: &Arc<CryptoProvider>) -> Self {
        Self { chain: None, name: false, provider: Arc::clone(provider) }
    }

    /// The certificate must come from one of the authorities, and may be of another host.
    pub(super) fn chain(
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> std::result::Result<Self, VerifierBuilderError> {
        let chain =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()?;
        Ok(Self { chain: Some(chain), name: false, provider: Arc::clone(provider) })
    }

    /// It must name the host, too.
    pub(super) fn with_name(mut self) -> Self {
        self.name = true;
        self
    }
}

impl ServerCertVerifier for Checks {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // verify-ca: the chain has been found good before the name is looked at.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
