//! `${NAME}` and `@path` in what the operator typed.

use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

type Variables<'a> = dyn Fn(&str) -> Option<String> + Send + Sync + 'a;

/// A file given as `@path` is read up to this size.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Replaces `${NAME}` by a variable of the environment, and a value that starts with `@` by the text of the
/// file it names (without its last line end). Both happen once: neither what a variable holds nor what a
/// file holds is looked at again. `$$` stands for `$`, `@@` at the start for `@`; a `$` before anything but
/// `{` is itself.
///
/// # Examples
/// ```
/// use kwsync_core::config::Expand;
///
/// let env = |name: &str| (name == "HOME").then(|| "/root".to_owned());
/// let expand = Expand::with_variables(&env);
/// assert_eq!(expand.value("dir", "${HOME}/data")?, "/root/data");
/// assert_eq!(expand.value("tag", "@@home $${HOME}")?, "@home ${HOME}");
/// assert!(expand.value("dir", "${HOEM}/data").is_err());
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub struct Expand<'a> {
    variables: Box<Variables<'a>>,
}

impl Expand<'static> {
    /// Variables come from the environment of this process.
    pub fn from_environment() -> Self {
        Self { variables: Box::new(|name| std::env::var(name).ok()) }
    }
}

impl<'a> Expand<'a> {
    /// Variables come from `variables`.
    pub fn with_variables(variables: &'a (dyn Fn(&str) -> Option<String> + Send + Sync)) -> Self {
        Self { variables: Box::new(variables) }
    }

    /// Expands the value of the parameter `key`.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config), naming `key`, if a variable is unset, a brace is not closed, or
    /// the file cannot be read, is larger than 16 MiB or is not UTF-8.
    pub fn value(&self, key: &str, text: &str) -> Result<String> {
        let what = format!("the parameter `{key}`");
        match text.strip_prefix('@') {
            Some(rest) if rest.starts_with('@') => self.variables(&what, rest),
            Some(path) => read(&what, &self.variables(&what, path)?),
            None => self.variables(&what, text),
        }
    }

    /// Expands `${NAME}` alone; `what` names the text in errors.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) if a variable is unset or a brace is not closed.
    pub fn variables(&self, what: &str, text: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some((name, after)) = after.split_once('}') else {
                    return Err(Error::config(format!("{what} has `${{` without `}}`"))
                        .with_hint("write ${NAME}; for a plain dollar sign write $$"));
                };
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    return Err(Error::config(format!(
                        "{what} has `${{{name}}}`, which is no name of a variable"
                    ))
                    .with_hint(
                        "write ${NAME} with letters, digits and _; for a plain dollar sign write $$",
                    ));
                }
                let Some(value) = (self.variables)(name) else {
                    return Err(Error::config(format!(
                        "{what} uses ${{{name}}}, but the variable {name} is not set"
                    ))
                    .with_hint(format!(
                        "set {name} in the environment, or write $${{{name}}} for the text itself"
                    )));
                };
                out.push_str(&value);
                rest = after;
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        Ok(out)
    }
}

fn read(what: &str, path: &str) -> Result<String> {
    let bad = |why: String| {
        Error::config(format!("{what} takes its value from the file `{path}`, {why}"))
            .with_hint("check the path after @; for a value that starts with @ write @@")
    };
    if path.is_empty() {
        return Err(bad("which is no path".to_owned()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(Path::new(path))
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| bad(format!("which cannot be read ({})", error.kind())).with_source(error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(bad(format!("which is larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    let mut text = String::from_utf8(bytes)
        .map_err(|error| bad(format!("which is not UTF-8 (byte {})", error.utf8_error().valid_up_to())))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

impl fmt::Debug for Expand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expand")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".to_owned()),
            "B" => Some("@${A}$$".to_owned()),
            "DIR" => Some(std::env::temp_dir().display().to_string()),
            _ => None,
        }
    }

    #[test]
    fn variables_and_literals() {
        let expand = Expand::with_variables(&env);
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("${A}", "one"),
            ("x${A}y${A}z", "xoneyonez"),
            // What a variable holds is not looked at again.
            ("${B}", "@${A}$$"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$${A}", "$one"),
            ("a$b$", "a$b$"),
            ("@@home", "@home"),
            ("@@@", "@@"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(expand.value("k", text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn faults_name_the_key() {
        let expand = Expand::with_variables(&env);
        for (text, part) in [
            ("${NOPE}", "the variable NOPE is not set"),
            ("${A", "`${` without `}`"),
            ("${A:-x}", "no name of a variable"),
            ("${}", "no name of a variable"),
            ("@/no/such/file", "cannot be read"),
            ("@", "no path"),
        ] {
            let error = expand.value("topics", text).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Config);
            assert!(error.to_string().contains("`topics`") && error.to_string().contains(part), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tables.txt");
        std::fs::write(&path, "a\nb${A}\r\n").unwrap();
        let expand = Expand::with_variables(&env);
        assert_eq!(expand.value("tables", &format!("@{}", path.display())).unwrap(), "a\nb${A}");
        let name = path.strip_prefix(std::env::temp_dir()).unwrap().display().to_string();
        assert_eq!(expand.value("tables", &format!("@${{DIR}}/{name}")).unwrap(), "a\nb${A}");
        std::fs::write(&path, b"a\xff").unwrap();
        let error = expand.value("tables", &format!("@{}", path.display())).unwrap_err();
        assert!(error.to_string().contains("not UTF-8 (byte 1)"), "{error}");
    }
}
