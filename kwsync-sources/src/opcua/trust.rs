//! Certificates: our own, and those that are trusted. The library wants them in folders of files.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kwsync_core::config::Secret;
use kwsync_core::{Error, Result};
use opcua::crypto::{CertificateStore, PrivateKey, X509, X509Data};
use opcua::sync::RwLock;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Our own certificate and its key. `Debug` hides the key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// DER.
    certificate: Vec<u8>,
    /// PEM.
    key: Secret,
}

impl Identity {
    /// Of a path to PEM or DER, or of PEM itself, each; the key is PEM.
    ///
    /// # Errors
    /// `Config` for a file that cannot be read, and for what is neither certificate nor key.
    pub fn new(certificate: &str, key: &Secret) -> Result<Self> {
        let found = certificates("certificate", certificate)?;
        let Some(certificate) = found.into_iter().next() else {
            return Err(Error::config("certificate holds no certificate"));
        };
        let key = match key.expose() {
            pem if pem.contains("-----BEGIN") => pem.to_owned(),
            path => fs::read_to_string(path).map_err(|error| unreadable("private_key", path, &error))?,
        };
        if PrivateKey::from_pem(key.as_bytes()).is_err() {
            return Err(Error::config("private_key holds no RSA key in PEM form without a password")
                .with_hint("openssl rsa -in key.pem -out plain.pem takes a password away"));
        }
        Ok(Self { certificate, key: key.into() })
    }

    /// The name of the application that the certificate is for. Servers compare it with the one that a client gives.
    pub(super) fn application_uri(&self) -> Option<String> {
        let certificate = x509_cert::Certificate::from_der(&self.certificate).ok()?;
        let (_, names) = certificate.tbs_certificate.get::<SubjectAltName>().ok()??;
        names.0.iter().find_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
            _ => None,
        })
    }
}

/// Which servers are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those with one of these certificates (DER), and the keys to them.
    These(Vec<Vec<u8>>),
    /// Whoever answers.
    Any,
}

impl Trust {
    /// `any`, a path to PEM or DER, or PEM itself.
    ///
    /// # Errors
    /// `Config` for a file that cannot be read or holds no certificate, and for a certificate that has run out.
    pub fn new(text: &str) -> Result<Self> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let found = certificates("server_certificate", text)?;
        for der in &found {
            let certificate = parsed("server_certificate", der)?;
            if let Ok(end) = certificate.not_after()
                && end.timestamp() < unix_seconds()
            {
                return Err(Error::config(format!("server_certificate: it has run out, at {end}"))
                    .with_hint("let the server make a new one; nothing is trusted that has run out"));
            }
        }
        Ok(Self::These(found))
    }

    pub(super) fn has(&self, der: &[u8]) -> bool {
        match self {
            // What follows the server's own is the chain that signed it.
            Self::These(trusted) => trusted.iter().any(|trusted| der.starts_with(trusted)),
            Self::Any => true,
        }
    }
}

fn unix_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn unreadable(name: &str, path: &str, error: &std::io::Error) -> Error {
    // It may be the beginning of a key.
    let path = if path.len() > 200 || path.contains('\n') { "the file" } else { path };
    Error::config(format!("{name}: cannot read {path}: {error}"))
}

fn parsed(name: &str, der: &[u8]) -> Result<X509> {
    X509::from_der(der).map_err(|_| Error::config(format!("{name} holds what is no certificate")))
}

/// The certificates of a text in PEM form, or of a file in PEM or DER.
fn certificates(name: &str, text: &str) -> Result<Vec<Vec<u8>>> {
    let bytes = match text.contains("-----BEGIN") {
        true => text.as_bytes().to_vec(),
        false => fs::read(text).map_err(|error| unreadable(name, text, &error))?,
    };
    let pem = std::str::from_utf8(&bytes).ok().filter(|text| text.contains("-----BEGIN"));
    let Some(pem) = pem else {
        parsed(name, &bytes)?;
        return Ok(vec![bytes]);
    };
    let mut found = Vec::new();
    const END: &str = "-----END CERTIFICATE-----";
    for part in pem.split_inclusive(END).filter(|part| part.contains(END)) {
        let begin = part.find("-----BEGIN CERTIFICATE-----").unwrap_or(0);
        let certificate = X509::from_pem(part.get(begin..).unwrap_or(part).as_bytes())
            .ok()
            .and_then(|certificate| certificate.to_der().ok());
        found.push(
            certificate
                .ok_or_else(|| Error::config(format!("{name} holds what is no certificate in PEM form")))?,
        );
    }
    if found.is_empty() {
        return Err(Error::config(format!("{name} holds no certificates")));
    }
    Ok(found)
}

/// The folder in which the library finds the certificates. It goes with this value.
pub(super) struct Store {
    pub(super) certificates: Arc<RwLock<CertificateStore>>,
    _dir: tempfile::TempDir,
    /// Open while the key is needed.
    _key: Option<File>,
}

impl Store {
    pub(super) fn new(identity: Option<&Identity>, trust: Option<&Trust>) -> Result<Self> {
        let io = |error| Error::io("cannot write certificates to a temporary folder", error);
        let dir = tempfile::Builder::new().prefix("kwsync-opcua-").tempdir().map_err(io)?;
        let (own, key_path) = (dir.path().join("own.der"), dir.path().join("key.pem"));
        let mut key = None;
        let mut store = match identity {
            Some(identity) => {
                fs::write(&own, &identity.certificate).map_err(io)?;
                let (file, path) = key_file(&key_path, &identity.key).map_err(io)?;
                key = Some(file);
                let made = CertificateStore::new_with_x509_data(
                    dir.path(),
                    false,
                    Some(&own),
                    Some(&path),
                    None::<X509Data>,
                );
                made.0
            }
            None => CertificateStore::new(dir.path()),
        };
        store.ensure_pki_path().map_err(Error::config)?;
        // A certificate that is trusted by itself may be for another name of the host.
        store.set_skip_verify_certs(true);
        match trust {
            Some(Trust::These(trusted)) => {
                for der in trusted {
                    let name = CertificateStore::cert_file_name(&parsed("server_certificate", der)?);
                    fs::write(store.trusted_certs_dir().join(name), der).map_err(io)?;
                }
            }
            Some(Trust::Any) => store.set_trust_unknown_certs(true),
            None => {}
        }
        Ok(Self { certificates: Arc::new(RwLock::new(store)), _dir: dir, _key: key })
    }
}

/// Writes the key where the library can read it, and nobody else. Where the system allows it the file has no name: nothing is left of it
/// when this program is killed.
fn key_file(path: &Path, key: &Secret) -> std::io::Result<(File, PathBuf)> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key.expose().as_bytes())?;
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let nameless = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if nameless.exists() {
            fs::remove_file(path)?;
            return Ok((file, nameless));
        }
    }
    Ok((file, path.to_owned()))
}
