//! An address back to text.

use super::Dsn;

/// What stands in the place of a secret.
const REDACTED: &str = "***";

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Secrets {
    Shown,
    Redacted,
}

pub(super) fn write(dsn: &Dsn, secrets: Secrets) -> String {
    let mut out = dsn.scheme();
    if dsn.is_path {
        out.push(':');
        let path = dsn.object.as_deref().unwrap_or_default();
        // `driver://x` would read as a host.
        let rest = path.strip_prefix("//").map_or(path, |rest| {
            out.push_str("/%2F");
            rest
        });
        encode(&mut out, rest, "%?");
    } else {
        out.push_str("://");
        if let Some(user) = &dsn.user {
            encode(&mut out, user, "%:/?#@[], ");
        }
        if let Some(password) = &dsn.password {
            out.push(':');
            match secrets {
                Secrets::Shown => encode(&mut out, password.expose(), "%:/?#@[], "),
                Secrets::Redacted => out.push_str(REDACTED),
            }
        }
        if dsn.user.is_some() || dsn.password.is_some() {
            out.push('@');
        }
        for (i, host) in dsn.hosts.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            if host.name.contains(':') {
                out.push('[');
                encode(&mut out, &host.name, "%/?@,[] ");
                out.push(']');
            } else {
                encode(&mut out, &host.name, "%/?:@,[] ");
            }
            if let Some(port) = host.port {
                out.push(':');
                out.push_str(&port.to_string());
            }
        }
        if let Some(object) = &dsn.object {
            out.push('/');
            encode(&mut out, object, "%?@");
        }
    }
    for (i, param) in dsn.params.iter().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        encode(&mut out, &param.name, "%&=@");
        if let Some(value) = &param.value {
            out.push('=');
            match secrets {
                Secrets::Redacted if param.secret && !value.is_empty() => out.push_str(REDACTED),
                _ => encode(&mut out, value, "%&"),
            }
        }
    }
    // A blank at the end would be trimmed away when the text is read again.
    if out.ends_with(' ') {
        out.pop();
        out.push_str("%20");
    }
    out
}

/// Appends `text`, with control characters and those of `reserved` percent-encoded.
fn encode(out: &mut String, text: &str, reserved: &str) {
    for c in text.chars() {
        if c.is_ascii_control() || reserved.contains(c) {
            out.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
}
