//! The objects that a selection stands for.

use glob::{MatchOptions, Pattern};
use kwsync_core::system::object::{ObjectClient, ObjectInfo};
use kwsync_core::{Error, ErrorKind, Result};

use super::Selection;
use super::config::literal;

/// The folder for what is not data.
const HIDDEN: &str = ".kwsync/";

/// The objects, in the order of their keys, but that `F.2` comes before `F.10`.
pub(super) async fn find(client: &ObjectClient, selection: &Selection) -> Result<Vec<ObjectInfo>> {
    let mut found = match selection {
        Selection::Key(key) => {
            let found: Vec<_> = client.head(key).await?.into_iter().collect();
            if found.is_empty() {
                return Err(missing(client, key).await);
            }
            // Nothing to read is nothing wrong.
            return Ok(found.into_iter().filter(|object| object.size > 0).collect());
        }
        Selection::FilePath(path) => return file_path(client, path).await,
        Selection::Prefix(prefix) => client.list(prefix, true).await?,
        Selection::Dir(dir) => client.list(dir, false).await?,
        Selection::Folder(folder) => {
            let mut found = client.list(folder, true).await?;
            found.retain(|object| {
                let below = object.key.get(folder.len()..).unwrap_or_default();
                !below.split('/').any(|name| name.starts_with(['.', '_'])) && !below.ends_with(".part")
            });
            found
        }
        Selection::Pattern(text) => {
            let pattern = Pattern::new(text).map_err(|error| {
                Error::config(format!("the pattern {text} is wrong: {}", error.msg))
                    .with_hint("write [[] for a plain [")
            })?;
            let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
            let mut found = client.list(literal(text), text.contains("**") || deep(text)).await?;
            found.retain(|object| pattern.matches_with(&object.key, options));
            found
        }
    };
    found.retain(|object| !object.key.starts_with(HIDDEN) && !object.key.contains("/.kwsync/"));
    if found.is_empty() {
        let (place, hint) = match selection {
            Selection::Prefix(prefix) => (
                format!("begins with {}", client.place(prefix)),
                "prefix= is taken literally: check its letters",
            ),
            Selection::Dir(dir) => (
                format!("lies in {}", client.place(dir)),
                "dir= leaves out what lies in folders of it; prefix= does not",
            ),
            Selection::Folder(folder) => (
                format!("lies below {}", client.place(folder)),
                "names that start with `.` or `_` do not count",
            ),
            _ => {
                let Selection::Pattern(text) = selection else { return Ok(found) };
                (format!("matches {}", client.place(text)), "* is any text without /, ** any folders")
            }
        };
        return Err(Error::new(ErrorKind::NotFound, format!("no object {place}")).with_hint(hint));
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// Whether a pattern has a wildcard before its last `/`.
fn deep(pattern: &str) -> bool {
    pattern.get(literal(pattern).len()..).is_some_and(|rest| rest.contains('/'))
}

async fn file_path(client: &ObjectClient, path: &str) -> Result<Vec<ObjectInfo>> {
    let mut found: Vec<_> = client.head(path).await?.into_iter().collect();
    for number in 1_u64.. {
        match client.head(&format!("{path}.{number}")).await? {
            Some(object) => found.push(object),
            None => break,
        }
    }
    if found.is_empty() {
        return Err(missing(client, path).await);
    }
    found.retain(|object| object.size > 0);
    Ok(found)
}

/// Says what is missing: the object, or the bucket.
async fn missing(client: &ObjectClient, key: &str) -> Error {
    if let Err(error) = client.check().await {
        return error;
    }
    Error::new(ErrorKind::NotFound, format!("there is no object {}", client.place(key)))
        .with_hint(format!("a folder ends in /: {}/", client.place(key)))
}
