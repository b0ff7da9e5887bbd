//! Paths of databases, devices and series: nodes between dots, some of them in backquotes.

use std::fmt;

use crate::{Error, ErrorKind, Result};

/// A path, by its nodes as they are, without backquotes.
///
/// # Examples
/// ```
/// use kwsync_core::system::iotdb::Path;
///
/// let path: Path = "root.plant.`a.b`.`1`".parse()?;
/// assert_eq!(path.nodes(), ["root", "plant", "a.b", "1"]);
/// assert_eq!(path.join("s 1")?.to_string(), "root.plant.`a.b`.`1`.`s 1`");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    nodes: Vec<String>,
}

impl Path {
    /// `root`.
    pub fn root() -> Self {
        Self { nodes: vec!["root".to_owned()] }
    }

    /// The nodes, from the root on.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// The path with one more node.
    ///
    /// # Errors
    /// `Data` for a name that no node has: an empty one, or one with a control character.
    pub fn join(&self, node: impl Into<String>) -> Result<Self> {
        let node = node.into();
        check(&node)?;
        let mut nodes = self.nodes.clone();
        nodes.push(node);
        Ok(Self { nodes })
    }

    /// What lies behind `start`, or `None` if the path does not begin with it.
    pub fn behind(&self, start: &Self) -> Option<&[String]> {
        self.nodes.strip_prefix(start.nodes.as_slice())
    }

    /// The nodes behind the root, as text.
    pub fn without_root(&self) -> String {
        joined(self.nodes.get(1..).unwrap_or_default())
    }
}

fn check(node: &str) -> Result<()> {
    let reason = if node.is_empty() {
        "a node of a path cannot be empty"
    } else if node.contains(char::is_control) {
        "a node of a path cannot have control characters"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Data, reason).with_code("no_path_node"))
}

impl std::str::FromStr for Path {
    type Err = Error;

    /// # Errors
    /// `Config` for what is no path: an empty node, a backquote that is not closed.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::config(format!("{text:?} is no path of IoTDB: {what}"))
                .with_hint("nodes stand between dots; one with other characters than letters, digits and _ in backquotes")
        };
        let mut nodes = Vec::new();
        let mut rest = text;
        loop {
            let (node, behind) = match rest.strip_prefix('`') {
                None => match rest.split_once('.') {
                    Some((node, behind)) => (node.to_owned(), Some(behind)),
                    None => (rest.to_owned(), None),
                },
                Some(quoted) => {
                    let (node, behind) =
                        unquoted(quoted).ok_or_else(|| wrong("a backquote is not closed"))?;
                    match behind.strip_prefix('.') {
                        Some(behind) => (node, Some(behind)),
                        None if behind.is_empty() => (node, None),
                        None => return Err(wrong("a dot is missing behind a backquote")),
                    }
                }
            };
            check(&node).map_err(|error| wrong(error.message()))?;
            nodes.push(node);
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(Self { nodes }),
            }
        }
    }
}

/// The name up to the backquote that closes it, and what lies behind.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('`')?;
        name.push_str(part);
        match behind.strip_prefix('`') {
            Some(behind) => {
                name.push('`');
                rest = behind;
            }
            None => return Some((name, behind)),
        }
    }
}

fn joined(nodes: &[String]) -> String {
    let mut text = String::new();
    for (at, node) in nodes.iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        text.push_str(&quoted(node));
    }
    text
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(&self.nodes))
    }
}

/// A node as statements and requests have it: in backquotes where the server asks for them.
pub fn quoted(node: &str) -> std::borrow::Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || ('\u{2e80}'..='\u{9fff}').contains(&c);
    let reserved = ["time", "timestamp"].iter().any(|word| node.eq_ignore_ascii_case(word));
    if !reserved && !node.starts_with(|c: char| c.is_ascii_digit()) && node.chars().all(plain) {
        node.into()
    } else {
        format!("`{}`", node.replace('`', "``")).into()
    }
}
