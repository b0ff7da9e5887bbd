//! Text that must not be seen.

use std::fmt;

use serde::{Serialize, Serializer};

/// A password, token or key: `Debug`, `Display` and `Serialize` give `***`; only [`Secret::expose`] gives
/// the text.
///
/// # Examples
/// ```
/// use kwsync_core::config::Secret;
///
/// let secret = Secret::new("hunter2");
/// assert_eq!(format!("{secret} {secret:?}"), "*** ***");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// Whether the name of a parameter says that its value is a secret, where no declaration is at hand.
pub(crate) fn is_secret_name(name: &str) -> bool {
    const ANYWHERE: [&str; 8] =
        ["password", "passwd", "passphrase", "secret", "token", "credential", "authorization", "signature"];
    const KEYS: [&str; 9] =
        ["key", "privatekey", "certkey", "accesskey", "apikey", "sslkey", "tlskey", "accountkey", "sas"];
    let plain: String =
        name.chars().filter(|c| !matches!(c, '_' | '-' | '.')).map(|c| c.to_ascii_lowercase()).collect();
    plain == "pwd" || ANYWHERE.iter().any(|word| plain.contains(word)) || KEYS.contains(&plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shown() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?} {secret} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
    }

    #[test]
    fn names() {
        for name in
            ["password", "connection.password", "token", "cert_key", "key", "access-key", "SASL.Password"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in
            ["user", "topics", "primary_key", "key.converter", "group.id", "client_id", "cert", "bucket"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
