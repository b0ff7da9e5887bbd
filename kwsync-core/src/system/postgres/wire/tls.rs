//! TLS by rustls with ring, as each `sslmode` asks for.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::config::{ConnectConfig, SslMode};
use crate::{Error, ErrorKind, Result};

/// What to present and what to check.
pub(super) fn client_config(config: &ConnectConfig) -> Result<ClientConfig> {
    // A provider of our own: the process may have another default, or two and none chosen.
    let provider = Arc::new(ring::default_provider());
    let checks = match (config.ssl_mode, &config.ssl_root_cert) {
        (SslMode::VerifyFull, Some(path)) => Checks::full(path, &provider)?,
        (SslMode::VerifyCa | SslMode::Require, Some(path)) => Checks::chain(path, &provider)?,
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(Error::config("sslmode verify-ca and verify-full need the authorities to trust")
                .with_hint("give their certificates: sslrootcert=FILE"));
        }
        _ => Checks { chain: None, name: false, provider: Arc::clone(&provider) },
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

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let fault = |text: String| {
        Error::config(format!("cannot read certificates from {}: {text}", path.display()))
            .with_hint("the file must hold certificates in PEM form")
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|iter| iter.collect::<std::result::Result<_, _>>())
        .map_err(|error| fault(error.to_string()))?;
    if found.is_empty() { Err(fault("there is none".to_owned())) } else { Ok(found) }
}

/// Checks of a server's certificate, from none to chain and name.
#[derive(Debug)]
struct Checks {
    chain: Option<Arc<WebPkiServerVerifier>>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl Checks {
    fn chain(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| {
                Error::config(format!("a certificate in {} cannot be used", path.display()))
                    .with_source(error)
            })?;
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| Error::config("sslrootcert cannot be used").with_source(error))?;
        Ok(Self { chain: Some(chain), name: false, provider: Arc::clone(provider) })
    }

    fn full(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Self> {
        Ok(Self { name: true, ..Self::chain(path, provider)? })
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
