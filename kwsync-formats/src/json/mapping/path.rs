//! JSONPath, as far as one value is meant: `$.data.city`, `$['a b']`, `$.list[0].x`; or a key.

use crate::build::Kind;
use crate::build::NONE;
use crate::json::read::{Field, Object, Reader, Span, What};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// What a path says, or what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(mut rest) = text.strip_prefix('$') else {
            return match text.is_empty() {
                true => Err("the name is empty".to_owned()),
                false => Ok(Self(vec![Step::Key(text.to_owned())])),
            };
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let Some((inside, after)) = inner.split_once(']') else {
                    return Err(format!("{text:?}: a [ is not closed"));
                };
                rest = after;
                let quoted =
                    |quote: char| inside.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
                steps.push(match quoted('\'').or_else(|| quoted('"')) {
                    Some(key) => Step::Key(key.to_owned()),
                    None => {
                        Step::Index(inside.parse().map_err(|_| {
                            format!("{text:?}: [{inside}] is neither a number nor a quoted key")
                        })?)
                    }
                });
                continue;
            }
            let Some(after) = rest.strip_prefix('.') else {
                return Err(format!("{text:?}: a dot or [ is missing before {rest:?}"));
            };
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (key, after) = after.split_at(end);
            if key.is_empty() || key == "*" {
                return Err(format!("{text:?}: a path leads to one value; ..  and * are not known"));
            }
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        }
        if steps.is_empty() { Err(format!("{text:?}: the path leads nowhere")) } else { Ok(Self(steps)) }
    }

    /// The last key, which is the value's usual name.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }

    /// The value in an object that has been taken apart.
    pub(super) fn find(&self, data: &[u8], object: &Object) -> Option<(Kind, Span)> {
        let mut parent = NONE;
        let mut found: Option<Field> = None;
        let mut steps = self.0.iter();
        for step in steps.by_ref() {
            let Step::Key(key) = step else { return None };
            let (index, field) = object.child(data, parent, key.as_bytes())?;
            found = Some(*field);
            match field.what {
                What::Object => parent = index as u32,
                What::Value(_) => break,
            }
        }
        let field = found?;
        match field.what {
            What::Object => Some((Kind::Json, field.value)),
            What::Value(Kind::Json) => descend(data, field.value, steps.as_slice()),
            What::Value(kind) => steps.as_slice().is_empty().then_some((kind, field.value)),
        }
    }
}

/// The value at the end of `steps` within JSON text that is known to be such.
fn descend(data: &[u8], span: Span, steps: &[Step]) -> Option<(Kind, Span)> {
    let mut reader = Reader::new(data.get(..span.end)?, span.start, false);
    for step in steps {
        let opens = reader.peek()?;
        reader.at += 1;
        match step {
            Step::Index(index) => {
                if opens != b'[' {
                    return None;
                }
                for place in 0.. {
                    match reader.peek()? {
                        b']' => return None,
                        b',' => {
                            reader.at += 1;
                            reader.peek()?;
                        }
                        _ => {}
                    }
                    if place == *index {
                        break;
                    }
                    reader.skip().ok()?;
                }
            }
            Step::Key(key) => {
                if opens != b'{' {
                    return None;
                }
                loop {
                    match reader.peek()? {
                        b'}' => return None,
                        b',' => reader.at += 1,
                        _ => {}
                    }
                    if reader.key().ok()?.text(data) == key.as_bytes() {
                        break;
                    }
                    reader.skip().ok()?;
                }
            }
        }
    }
    match reader.peek()? {
        b'{' | b'[' => Some((Kind::Json, reader.skip().ok()?)),
        _ => {
            // What is at the end of the span is not cut off.
            let mut whole = Reader::new(data, reader.at, false);
            whole.scalar().ok()
        }
    }
}
