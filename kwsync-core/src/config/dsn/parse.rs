//! Text to an address. The parts are found by splitting at delimiters rather than by a grammar: which
//! delimiter counts depends on where one stands, and every part is a slice of the text, so that a fault
//! knows its column.

use std::ops::Range;

use super::{Dsn, DsnParam, Host};
use crate::config::secret::is_secret_name;
use crate::error::{Error, Location, Result, caret};

const PASSWORD_HINT: &str =
    "in a user or password write `@` as %40, `:` as %3A, `/` as %2F, `?` as %3F and `%` as %25";

/// The `jdbc:` names, and the driver and protocol each stands for.
const JDBC: [(&str, &str, Option<&str>); 7] = [
    ("mysql", "mysql", None),
    ("clickhouse", "clickhouse", None),
    ("ch", "clickhouse", None),
    ("postgresql", "postgresql", None),
    ("kaiwudb", "kaiwudb", None),
    ("taos-rs", "taos", Some("http")),
    ("taos", "taos", None),
];

pub(super) fn parse(text: &str) -> Result<Dsn> {
    Parser { text }.address()
}

struct Parser<'a> {
    text: &'a str,
}

impl<'a> Parser<'a> {
    fn address(&self) -> Result<Dsn> {
        let text = self.text.trim_matches(|c: char| c.is_ascii_whitespace());
        if text.is_empty() {
            return Err(
                Error::config("the address is empty").with_hint("write driver://host/object or a path")
            );
        }
        match split_scheme(text) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("jdbc") => self.jdbc(rest),
            Some((scheme, rest)) => {
                let (driver, protocol) = match scheme.split_once('+') {
                    Some((driver, protocol)) => (driver, Some(protocol)),
                    None => (scheme, None),
                };
                if driver.is_empty() || protocol == Some("") {
                    return Err(self.fault(scheme, format!("`{scheme}` lacks a name beside its `+`"), "write driver+protocol, as in taos+ws"));
                }
                let mut dsn = match rest.strip_prefix("//") {
                    Some(rest) => self.url(driver, rest)?,
                    None => self.path(driver, rest, true)?,
                };
                dsn.protocol = protocol.map(str::to_ascii_lowercase);
                Ok(dsn)
            }
            None => match text.split_once("://") {
                Some((scheme, _)) => Err(self.fault(
                    text,
                    format!("`{scheme}` is no name of a driver"),
                    "start the address with a name such as `postgres` or `taos+ws`; `kwsync connectors` lists them",
                )),
                None => self.path("file", text, false),
            },
        }
    }

    fn jdbc(&self, rest: &'a str) -> Result<Dsn> {
        let known = "known are jdbc:mysql://, jdbc:postgresql://, jdbc:clickhouse://, jdbc:kaiwudb:// and jdbc:TAOS-RS://host:port/database";
        let Some((name, rest)) = rest.split_once("://") else {
            return Err(self.fault(rest, "`jdbc:` is not followed by `name://host`".to_owned(), known));
        };
        let Some((_, driver, protocol)) = JDBC.iter().find(|(jdbc, ..)| jdbc.eq_ignore_ascii_case(name))
        else {
            return Err(self.fault(name, format!("`jdbc:{name}` is not known"), known));
        };
        let mut dsn = self.url(driver, rest)?;
        dsn.protocol = protocol.map(str::to_owned);
        // JDBC has no user before the host.
        let mut take = |name: &str| {
            let at = dsn.params.iter().position(|param| param.name == name)?;
            dsn.params.remove(at).value.filter(|value| !value.is_empty())
        };
        let (user, password) = (take("user"), take("password"));
        dsn.user = dsn.user.or(user);
        dsn.password = dsn.password.or(password.map(Into::into));
        Ok(dsn)
    }

    /// What follows `driver://`.
    fn url(&self, driver: &str, rest: &'a str) -> Result<Dsn> {
        let mut dsn = Dsn::empty(driver);
        let delimiter = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '?'));
        let (authority, tail) = delimiter.and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
        if tail.starts_with(|c: char| c.is_ascii_whitespace()) {
            for item in tail.split_ascii_whitespace() {
                dsn.params.push(self.param(item)?);
            }
        } else {
            let (object, query) = tail.split_once('?').unwrap_or((tail, ""));
            if object.contains('@') && authority.contains(':') {
                return Err(self.fault(
                    object,
                    "an `@` stands behind the first `/`".to_owned(),
                    PASSWORD_HINT,
                ));
            }
            let object = object.strip_prefix('/').unwrap_or(object);
            dsn.object = Some(self.decode(object, "the object")?).filter(|object| !object.is_empty());
            self.params(&mut dsn, query)?;
        }
        let hosts = match authority.rsplit_once('@') {
            Some((user, hosts)) => {
                let (user, password) = user.split_once(':').unwrap_or((user, ""));
                dsn.user = Some(self.decode(user, "the user")?).filter(|user| !user.is_empty());
                dsn.password =
                    Some(self.decode(password, "the password")?).filter(|p| !p.is_empty()).map(Into::into);
                hosts
            }
            None => authority,
        };
        if !hosts.is_empty() {
            for host in hosts.split(',') {
                dsn.hosts.push(self.host(host)?);
            }
        }
        Ok(dsn)
    }

    fn host(&self, text: &str) -> Result<Host> {
        let (name, port) = match text.strip_prefix('[') {
            Some(inner) => match inner.split_once(']') {
                Some((name, "")) => (name, ""),
                Some((name, rest)) if rest.starts_with(':') => (name, rest.trim_start_matches(':')),
                _ => {
                    return Err(self.fault(
                        text,
                        "the brackets of the host are not closed before its port".to_owned(),
                        "write [::1]:5432",
                    ));
                }
            },
            None => text.split_once(':').unwrap_or((text, "")),
        };
        if !text.starts_with('[') && port.contains(':') {
            return Err(self.fault(
                text,
                "the host has more than one `:`".to_owned(),
                "write IPv6 in brackets, as in [::1]:5432",
            ));
        }
        if name.is_empty() {
            let message = if port.is_empty() { "a host is empty" } else { "a port without a host" };
            return Err(self.fault(
                text,
                message.to_owned(),
                "write localhost for this machine, and no comma at the end",
            ));
        }
        let name = self.decode(name, "the host")?;
        if port.is_empty() {
            return Ok(Host { name, port: None });
        }
        // To listen at port 0 is to listen at any.
        let least = if self.text.starts_with("listen:") { 0 } else { 1 };
        match port.parse::<u16>() {
            Ok(number) if number >= least && port.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Host { name, port: Some(number) })
            }
            // With an `@` further on this is rather the start of a password: say nothing of it.
            _ if self.text.contains('@') => {
                Err(self.fault(port, "what follows the host's `:` is no port".to_owned(), PASSWORD_HINT))
            }
            _ => Err(self.fault(port, format!("`{port}` is no port"), "a port is a number from 1 to 65535")),
        }
    }

    /// What follows `driver:` (`decoded`), or a bare path.
    fn path(&self, driver: &str, text: &'a str, decoded: bool) -> Result<Dsn> {
        let query = text.match_indices('?').find_map(|(at, _)| {
            let (path, query) = text.split_at_checked(at)?;
            let query = query.strip_prefix('?')?;
            looks_like_params(query, decoded).then_some((path, query))
        });
        let (path, query) = query.unwrap_or((text, ""));
        let path = if decoded { self.decode(path, "the path")? } else { path.to_owned() };
        let mut dsn = Dsn::of_path(driver, path);
        self.params(&mut dsn, query)?;
        Ok(dsn)
    }

    fn params(&self, dsn: &mut Dsn, query: &str) -> Result<()> {
        for item in query.split('&').filter(|item| !item.is_empty()) {
            dsn.params.push(self.param(item)?);
        }
        Ok(())
    }

    fn param(&self, item: &str) -> Result<DsnParam> {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (item, None),
        };
        if name.is_empty() {
            return Err(self.fault(
                item,
                "a value without the name of a parameter".to_owned(),
                "write key=value, and `&` in a value as %26",
            ));
        }
        if name.contains('@') {
            return Err(self.fault(item, "an `@` in the name of a parameter".to_owned(), PASSWORD_HINT));
        }
        let name = self.decode(name, "the name of a parameter")?;
        let value = value.map(|value| self.decode(value, &format!("the value of `{name}`"))).transpose()?;
        Ok(DsnParam { secret: is_secret_name(&name), name, value })
    }

    fn decode(&self, part: &str, what: &str) -> Result<String> {
        if !part.contains('%') {
            return Ok(part.to_owned());
        }
        let mut bytes = Vec::with_capacity(part.len());
        let mut rest = part.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let decoded = match after {
                [high, low, after @ ..] => {
                    hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, after))
                }
                _ => None,
            };
            match decoded {
                Some((0, _)) | None => {
                    let at = self.offset(part) + part.len() - after.len() - 1;
                    let message =
                        format!("`%` in {what} is not followed by two hexadecimal digits other than 00");
                    return Err(self.fault_at(at, message, "write a percent sign as %25"));
                }
                Some((byte, after)) => {
                    bytes.push(byte);
                    rest = after;
                }
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            self.fault(part, format!("{what} is not UTF-8 once decoded"), "write a percent sign as %25")
        })
    }

    /// The byte at which `part`, a slice of the text, starts.
    fn offset(&self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize).min(self.text.len())
    }

    fn fault(&self, part: &str, message: String, hint: &'static str) -> Error {
        self.fault_at(self.offset(part), message, hint)
    }

    fn fault_at(&self, at: usize, message: String, hint: &'static str) -> Error {
        let column = self.text.get(..at).unwrap_or(self.text).chars().count() + 1;
        let (shown, at) = redacted(self.text, at);
        Error::config(format!("the address is wrong at column {column}: {message}"))
            .with_location(Location::new().with_excerpt(caret(shown.as_bytes(), at)))
            .with_hint(hint)
    }
}

/// `scheme` and what follows its `:`. One letter is a drive of Windows rather than a scheme.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let named = (scheme.len() > 1 || rest.starts_with("//"))
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_'));
    named.then_some((scheme, rest))
}

/// Whether what follows a `?` in a path starts with `key=`, or, where `words` may stand alone, is a word.
fn looks_like_params(query: &str, words: bool) -> bool {
    let first = query.split('&').next().unwrap_or_default();
    let (name, has_value) = first.split_once('=').map_or((first, false), |(name, _)| (name, true));
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || (b == b'.' && has_value))
        && (has_value || words)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The text with `***` for everything that is, or may be, a secret, and where byte `at` has gone.
fn redacted(text: &str, at: usize) -> (String, usize) {
    let (mut out, mut moved, mut from) = (String::with_capacity(text.len()), None, 0);
    for range in secret_ranges(text) {
        let Some(before) = text.get(from..range.start) else { continue };
        if moved.is_none() && at < range.end {
            moved = Some(out.len() + at.min(range.start).saturating_sub(from));
        }
        out.push_str(before);
        out.push_str("***");
        from = range.end;
    }
    let moved = moved.unwrap_or_else(|| out.len() + at.saturating_sub(from));
    out.push_str(text.get(from..).unwrap_or_default());
    (out, moved)
}

/// Where secrets stand in an address that may not be well formed: rather too much than too little.
fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let start = text.find("://").map_or(0, |at| at + 3);
    let rest = text.get(start..).unwrap_or_default();
    let authority =
        rest.split(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '?')).next().unwrap_or_default();
    let mut tail_start = start + authority.len();
    if let (Some(colon), true) = (authority.find(':'), start > 0) {
        let port = authority.get(colon + 1..).unwrap_or_default();
        let end = if !authority.contains('@') && !port.bytes().all(|b| b.is_ascii_digit()) {
            rest.rfind('@')
        } else {
            // An `@` outside of a value.
            rest.match_indices('@').map(|(at, _)| at).rfind(|at| {
                let before = rest.get(..*at).unwrap_or_default();
                !before.rsplit(['?', '&']).next().unwrap_or_default().contains('=') || !before.contains('?')
            })
        };
        if let Some(end) = end.filter(|end| *end > colon) {
            ranges.push(start + colon + 1..start + end);
            tail_start = tail_start.max(start + end);
        }
    }
    let tail = text.get(tail_start..).unwrap_or_default();
    let mut at = tail_start;
    for item in tail.split(|c: char| matches!(c, '?' | '&') || c.is_ascii_whitespace()) {
        if let Some((name, value)) = item.split_once('=')
            && is_secret_name(name)
            && !value.is_empty()
        {
            let from = at + name.len() + 1;
            ranges.push(from..from + value.len());
        }
        at += item.len() + 1;
    }
    ranges
}
