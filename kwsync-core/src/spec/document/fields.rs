//! The keys of an object, read one by one; what nobody has asked for is unknown.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Entry, Faults, Node, Place, Value, Wrong};
use crate::config::nearest;

/// An object that is being read. Every fault goes to the list that all objects of a file share, and reading goes on.
pub(crate) struct Fields<'a> {
    entries: &'a [Entry],
    place: &'a Place,
    path: String,
    faults: &'a Faults,
    used: Vec<Cell<bool>>,
    known: RefCell<Vec<&'static str>>,
    /// Keys that are missing, and what they are; told at the end, unless a misspelt one stands for them.
    missing: RefCell<Vec<(&'static str, String)>>,
}

impl<'a> Fields<'a> {
    /// The keys of `node`; a fault, and nothing, if it is no object. `path` names it in faults.
    pub(crate) fn of(node: &'a Node, path: impl Into<String>, faults: &'a Faults) -> Option<Self> {
        let path = path.into();
        let Value::Map(entries) = &node.value else {
            let what = if path.is_empty() { "the configuration".to_owned() } else { format!("`{path}`") };
            let text = format!("{what} is an object, {{\"key\": value}}, but {} stands here", node.kind());
            faults.add(&node.place, Wrong::Value, text, None);
            return None;
        };
        let used = entries.iter().map(|_| Cell::new(false)).collect();
        Some(Self {
            entries,
            place: &node.place,
            path,
            faults,
            used,
            known: RefCell::default(),
            missing: RefCell::default(),
        })
    }

    /// The path of one of its keys.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn faults(&self) -> &'a Faults {
        self.faults
    }

    /// The value of `key`; null counts as absent.
    pub(crate) fn get(&self, key: &'static str) -> Option<&'a Node> {
        self.known.borrow_mut().push(key);
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        self.used.get(at)?.set(true);
        let node = &self.entries.get(at)?.value;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// Takes every key that starts with `prefix` and that nobody has taken: keys of somebody else.
    pub(crate) fn skip_prefix(&self, prefix: &str) -> Vec<&'a str> {
        let mut skipped = Vec::new();
        for (entry, used) in self.entries.iter().zip(&self.used) {
            if entry.key.starts_with(prefix) && !used.replace(true) {
                skipped.push(entry.key.as_str());
            }
        }
        skipped
    }

    /// The value of one of `keys`, which mean the same; different values for two of them are a fault.
    pub(crate) fn either(&self, keys: &[&'static str]) -> Option<(&'static str, &'a Node)> {
        let mut found: Option<(&'static str, &'a Node)> = None;
        for key in keys {
            let Some(node) = self.get(key) else { continue };
            match found {
                Some((first, old)) if old.to_json() != node.to_json() => self.fault(
                    key,
                    Wrong::Form,
                    format!(
                        "`{}` means the same as `{first}`, and both are given with different values",
                        self.path(key)
                    ),
                    Some("leave one out".to_owned()),
                ),
                Some(_) => {}
                None => found = Some((key, node)),
            }
        }
        found
    }

    /// A text; numbers and flags are taken as they were written.
    pub(crate) fn text(&self, key: &'static str) -> Option<&'a str> {
        self.scalar_of(key, self.get(key)?)
    }

    /// A text that is not empty.
    pub(crate) fn filled(&self, key: &'static str) -> Option<&'a str> {
        self.text(key).filter(|text| !text.trim().is_empty())
    }

    /// A text that has to be given.
    pub(crate) fn required(&self, key: &'static str, what: &str) -> Option<&'a str> {
        let faults = self.faults.len();
        let text = self.filled(key);
        if text.is_none() && self.faults.len() == faults {
            self.missing(key, what);
        }
        text
    }

    /// Says that `key` is missing; `what` says what it is.
    pub(crate) fn missing(&self, key: &'static str, what: &str) {
        self.missing.borrow_mut().push((key, what.to_owned()));
    }

    /// As [`missing`](Self::missing), unless the key is there, and what stands there has been told to be wrong.
    pub(crate) fn missing_unless_there(&self, key: &'static str, what: &str) {
        if !self.has(key) {
            self.missing(key, what);
        }
    }

    fn scalar_of(&self, key: &str, node: &'a Node) -> Option<&'a str> {
        let text = node.scalar();
        if text.is_none() {
            let message = format!("`{}` takes one text, but {} stands here", self.path(key), node.kind());
            self.faults.add(&node.place, Wrong::Value, message, None);
        }
        text
    }

    /// A value that is read from its text; `wanted` says what it takes.
    pub(crate) fn parsed<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(key)?;
        let text = match &node.value {
            Value::List(_) | Value::Map(_) => None,
            _ => node.scalar(),
        };
        if text.is_some_and(|text| text.trim().is_empty()) {
            return None;
        }
        let value = text.and_then(|text| read(text.trim()));
        if value.is_none() {
            let given = match text {
                Some(_) if crate::config::is_secret_name(key) => "this is none".to_owned(),
                Some(text) => format!("{:?} is none", shortened(text)),
                None => format!("{} stands here", node.kind()),
            };
            let message = format!("`{}` takes {wanted}, and {given}", self.path(key));
            self.faults.add(&node.place, Wrong::Value, message, None);
        }
        value
    }

    /// A whole number.
    pub(crate) fn whole<T: FromStr + PartialOrd + Display>(
        &self,
        key: &'static str,
        range: RangeInclusive<T>,
        largest: bool,
    ) -> Option<T> {
        let wanted = if largest {
            format!("a whole number from {} to {}", range.start(), range.end())
        } else {
            format!("a whole number from {}", range.start())
        };
        self.parsed(key, &wanted, |text| {
            text.replace('_', "").parse().ok().filter(|number| range.contains(number))
        })
    }

    /// A switch.
    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        self.parsed(key, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        })
    }

    /// Texts: a list of them, or one alone. `None` where the key is absent.
    pub(crate) fn texts(&self, key: &'static str) -> Option<Vec<&'a str>> {
        let node = self.get(key)?;
        let Value::List(items) = &node.value else {
            return Some(self.scalar_of(key, node).into_iter().collect());
        };
        let item = |(at, item): (usize, &'a Node)| {
            let text = item.scalar();
            if text.is_none() {
                let message =
                    format!("`{}[{at}]` takes text, but {} stands here", self.path(key), item.kind());
                self.faults.add(&item.place, Wrong::Value, message, None);
            }
            text
        };
        Some(items.iter().enumerate().filter_map(item).collect())
    }

    /// The items of a list, or one alone; each with its path.
    pub(crate) fn items(&self, key: &'static str) -> Vec<(String, &'a Node)> {
        match self.get(key) {
            None => Vec::new(),
            Some(Node { value: Value::List(items), .. }) => items
                .iter()
                .enumerate()
                .map(|(at, item)| (format!("{}[{at}]", self.path(key)), item))
                .collect(),
            Some(one) => vec![(self.path(key), one)],
        }
    }

    /// An object within this one.
    pub(crate) fn object(&self, key: &'static str) -> Option<Self> {
        Self::of(self.get(key)?, self.path(key), self.faults)
    }

    /// A fault of the value of `key`.
    pub(crate) fn fault(&self, key: &str, wrong: Wrong, message: impl Into<String>, hint: Option<String>) {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        let place = entry.map_or(self.place, |entry| &entry.value.place);
        self.faults.add(place, wrong, message, hint);
    }

    /// Whether the key is there at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Keys that nobody has asked for are faults, and so are those that are missing.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        let mut missing = self.missing.borrow_mut();
        for (entry, _) in self.entries.iter().zip(&self.used).filter(|(_, used)| !used.get()) {
            let meant = nearest(&entry.key, known.iter().copied());
            missing.retain(|(key, _)| Some(*key) != meant);
            let hint = meant.is_none().then(|| {
                let mut names = known.clone();
                names.dedup();
                let within =
                    if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
                format!("known{within} are: {}", names.join(", "))
            });
            let meant = meant.map(|known| format!(", did you mean `{known}`?")).unwrap_or_default();
            let text = format!("unknown key `{}`{meant}", self.path(&entry.key));
            self.faults.add(&entry.place, Wrong::Form, text, hint);
        }
        for (key, what) in missing.drain(..) {
            let entry = self.entries.iter().find(|entry| entry.key == key);
            let place = entry.map_or(self.place, |entry| &entry.place);
            let text = format!("`{}` is missing", self.path(key));
            self.faults.add(place, Wrong::Missing, text, Some(format!("{key}: {what}")));
        }
    }
}

/// At most sixty characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
