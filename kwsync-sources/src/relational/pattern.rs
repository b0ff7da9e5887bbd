//! Names of tables as an operator writes them.

use std::fmt;

use kwsync_core::{Error, Result};

/// `table` or `schema.table`. `*` stands for any text; what stands in double quotes or backticks is taken as it is, dots
/// and stars with it. Case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    schema: Option<Part>,
    name: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    /// The texts between the stars, where there are some.
    wild: Option<Vec<String>>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self> {
        let fault = || {
            Error::config(format!("{text:?} is no name of a table")).with_hint(
                "write TABLE, SCHEMA.TABLE or a pattern as public.m_*; quote a part that holds a dot",
            )
        };
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let (part, tail) = part(rest).ok_or_else(fault)?;
            parts.push(part);
            match tail.strip_prefix('.') {
                Some(tail) => rest = tail,
                None if tail.is_empty() => break,
                None => return Err(fault()),
            }
        }
        let name = parts.pop().ok_or_else(fault)?;
        let schema = parts.pop();
        if !parts.is_empty() {
            return Err(fault());
        }
        Ok(Self { text: text.trim().to_owned(), schema, name })
    }

    /// Schema and name, if it names one table.
    pub(crate) fn exact(&self) -> Option<(Option<&str>, &str)> {
        let wild = self.name.wild.is_some() || self.schema.as_ref().is_some_and(|part| part.wild.is_some());
        (!wild).then(|| (self.schema.as_ref().map(|part| part.text.as_str()), self.name.text.as_str()))
    }

    /// The schema whose tables it means, `default` where none is written; none where there may be several.
    #[cfg(feature = "clickhouse")]
    pub(crate) fn one_schema<'p>(&'p self, default: &'p str) -> Option<&'p str> {
        match &self.schema {
            None => Some(default),
            Some(part) => part.wild.is_none().then_some(part.text.as_str()),
        }
    }

    /// Whether a table is meant; `default` is the schema where none is written, any if that is none.
    pub(crate) fn matches(&self, default: Option<&str>, schema: &str, name: &str) -> bool {
        let in_schema = match &self.schema {
            Some(part) => part.matches(schema),
            None => default.is_none_or(|default| default == schema),
        };
        in_schema && self.name.matches(name)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The first part of a name, and what follows it.
fn part(text: &str) -> Option<(Part, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '`'));
    let Some(quote) = quote else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        let wild = name.contains('*').then(|| name.split('*').map(str::to_owned).collect());
        return (!name.is_empty()).then(|| (Part { text: name.to_owned(), wild }, rest));
    };
    let mut name = String::new();
    let mut rest = text.strip_prefix(quote)?;
    loop {
        let (before, after) = rest.split_once(quote)?;
        name.push_str(before);
        match after.strip_prefix(quote) {
            Some(more) => {
                name.push(quote);
                rest = more;
            }
            None => return (!name.is_empty()).then_some((Part { text: name, wild: None }, after)),
        }
    }
}

impl Part {
    fn matches(&self, name: &str) -> bool {
        let Some(pieces) = &self.wild else { return self.text == name };
        let [first, middle @ .., last] = pieces.as_slice() else { return false };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            match rest.split_once(piece.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_dots_outside_of_quotes() {
        let exact = |text: &str| {
            let pattern = Pattern::new(text).unwrap();
            pattern.exact().map(|(schema, name)| (schema.map(str::to_owned), name.to_owned()))
        };
        let pair = |schema: Option<&str>, name: &str| Some((schema.map(str::to_owned), name.to_owned()));
        assert_eq!(exact("t"), pair(None, "t"));
        assert_eq!(exact("s.t"), pair(Some("s"), "t"));
        assert_eq!(exact("\"a.b\".\"c*\"\"d\""), pair(Some("a.b"), "c*\"d"));
        assert_eq!(exact("`a.b`"), pair(None, "a.b"));
        assert_eq!(exact("m_*"), None);
        for wrong in ["", ".t", "s.", "a.b.c", "\"x", "\"x\"y"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).unwrap().matches(None, "s", name);
        for (pattern, name, is) in [
            ("*", "anything", true),
            ("m_*", "m_cpu", true),
            ("m_*", "am_cpu", false),
            ("*_2024_*", "m_2024_01", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("*a", "aba", true),
            ("t", "T", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
        assert!(!Pattern::new("t").unwrap().matches(Some("other"), "s", "t"));
        assert!(Pattern::new("s*.t").unwrap().matches(Some("other"), "s1", "t"));
    }
}
