//! Who may write.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kwsync_core::{Error, ErrorKind, Result};
use ring::{hmac, rand};

use super::ListenOptions;

/// What a client must show, as digests under a key of this process: comparing them takes the same time wherever they differ,
/// and however long they are.
pub(super) struct Auth {
    key: hmac::Key,
    /// Nobody needs to show anything where there are none.
    known: Vec<hmac::Tag>,
}

impl Auth {
    /// # Errors
    /// `Config` for an empty token or password, which would let anybody in; `Internal` when the system has no random numbers.
    pub(super) fn new(options: &ListenOptions) -> Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map_err(|_| Error::new(ErrorKind::Internal, "the system has no random numbers"))?;
        let mut known = Vec::new();
        let password = options.credentials.as_ref().map(|(_, password)| password);
        for (name, secret) in [("token", options.token.as_ref()), ("password", password)] {
            if secret.is_some_and(|secret| secret.expose().trim().is_empty()) {
                return Err(Error::config(format!("the {name} is empty, and would let anybody in"))
                    .with_hint(format!("look at the file or variable that {name}= names, or leave it out")));
            }
        }
        if let Some(token) = &options.token {
            known.push(hmac::sign(&key, token.expose().as_bytes()));
        }
        if let Some((user, password)) = &options.credentials {
            known.push(hmac::sign(&key, format!("{user}:{}", password.expose()).as_bytes()));
        }
        Ok(Self { key, known })
    }

    /// Whether a client may write, by its header `Authorization` and the parameters u and p.
    pub(super) fn allows(&self, header: Option<&str>, user: Option<&str>, password: Option<&str>) -> bool {
        if self.known.is_empty() {
            return true;
        }
        if let Some((scheme, shown)) = header.and_then(|header| header.trim().split_once(' ')) {
            let shown = shown.trim();
            if scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer") {
                return self.is_known(shown.as_bytes());
            }
            if scheme.eq_ignore_ascii_case("basic") {
                return STANDARD.decode(shown).is_ok_and(|shown| self.is_known(&shown));
            }
        }
        match (user, password) {
            // Clients of InfluxDB 1.x put a token where the password stands, too.
            (Some(user), Some(password)) => {
                self.is_known(format!("{user}:{password}").as_bytes()) | self.is_known(password.as_bytes())
            }
            _ => false,
        }
    }

    fn is_known(&self, shown: &[u8]) -> bool {
        // All of them are compared, whichever fits.
        let fits = self.known.iter().filter(|known| hmac::verify(&self.key, shown, known.as_ref()).is_ok());
        fits.count() > 0
    }
}
