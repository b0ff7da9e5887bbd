//! YAML, without what no configuration needs: anchors, tags of one's own, several documents.

use std::borrow::Cow;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{Entry, Lines, MAX_DEPTH, Node, Place, Value};
use crate::{Error, Result};

/// The tree of `text`, which is called `name` in errors.
pub(crate) fn parse(name: &str, text: &str) -> Result<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::of(name, text);
    let mut builder = Builder { lines: &lines, open: Vec::new(), root: None };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            let place = lines.at(mark.line(), mark.col());
            lines.fault(&place, format!("no YAML: {}", error.info())).with_hint(
                "look at the indentation, and put text with `: ` or ` #` in it, or with `:` at its end, in quotes",
            )
        })?;
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                let place = lines.at(span.start.line(), span.start.col());
                return Err(lines
                    .fault(&place, "a second document (`---`)".to_owned())
                    .with_hint("write a file for each"));
            }
        }
        builder.take(event, span)?;
    }
    match builder.root {
        Some(Node { value: Value::Null, .. }) | None => Err(Error::config(format!("{name} is empty"))),
        Some(root) => Ok(root),
    }
}

impl Lines<'_> {
    fn at(&self, line: usize, column: usize) -> Place {
        Place { origin: Arc::clone(&self.origin), line: line as u64, column: column as u64 + 1 }
    }
}

/// A list or an object whose end has not come yet.
struct Open {
    place: Place,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(String, Place)>),
}

struct Builder<'a> {
    lines: &'a Lines<'a>,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<()> {
        let place = self.lines.at(span.start.line(), span.start.col());
        match event {
            Event::Alias(_) => Err(self
                .lines
                .fault(&place, "a reference to another part (`*name`)".to_owned())
                .with_hint("write the value itself here")),
            Event::Scalar(text, style, _, tag) => {
                let value = scalar(text, style, tag.as_deref());
                self.add(Node { value, place })
            }
            Event::SequenceStart(..) => self.begin(place, OpenKind::List(Vec::new())),
            Event::MappingStart(..) => self.begin(place, OpenKind::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { place, kind: OpenKind::List(items) }) => {
                    self.add(Node { value: Value::List(items), place })
                }
                Some(Open { place, kind: OpenKind::Map(entries, _) }) => {
                    self.add(Node { value: Value::Map(entries), place })
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, place: Place, kind: OpenKind) -> Result<()> {
        if self.open.len() >= MAX_DEPTH {
            let text = format!("more than {MAX_DEPTH} objects and lists within each other");
            return Err(self.lines.fault(&place, text));
        }
        self.open.push(Open { place, kind });
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<()> {
        let Some(Open { kind, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map(entries, waiting) => match waiting.take() {
                Some((key, place)) => {
                    if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                        let text =
                            format!("the key `{key}` stands twice, first in line {}", first.place.line);
                        return Err(self.lines.fault(&place, text).with_hint("leave one out"));
                    }
                    entries.push(Entry { key, place, value: node });
                }
                None => match node.scalar() {
                    Some(key) => *waiting = Some((key.to_owned(), node.place)),
                    None => {
                        let text = format!("a key is text, and this is {}", node.kind());
                        return Err(self.lines.fault(&node.place, text));
                    }
                },
            },
        }
        Ok(())
    }
}

/// A scalar by YAML's core schema: what is quoted is text.
fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let text = text.into_owned();
    let is_text = tag.is_some_and(|tag| tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return Value::Text(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Flag(true),
        "false" | "False" | "FALSE" => Value::Flag(false),
        _ if text.parse::<serde_json::Number>().is_ok() => Value::Number(text),
        _ => Value::Text(text),
    }
}
