//! BSON that is written: commands, conditions and keys.

use kwsync_core::{Error, ErrorKind, Result};

use super::bson::{Bytes, Elem, MOST_DEPTH, hex, unhex};

/// A document that is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written(Vec<u8>);

impl Written {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    fn begin(&mut self, kind: u8, name: &str) {
        self.0.push(kind);
        // A name with a NUL would end there.
        self.0.extend(name.bytes().filter(|byte| *byte != 0));
        self.0.push(0);
    }

    pub(super) fn i32(mut self, name: &str, value: i32) -> Self {
        self.begin(0x10, name);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn i64(mut self, name: &str, value: i64) -> Self {
        self.begin(0x12, name);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bool(mut self, name: &str, value: bool) -> Self {
        self.begin(0x08, name);
        self.0.push(value.into());
        self
    }

    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.begin(0x02, name);
        self.0.extend((value.len() as i32 + 1).to_le_bytes());
        self.0.extend(value.as_bytes());
        self.0.push(0);
        self
    }

    pub(super) fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.begin(0x05, name);
        self.0.extend((value.len() as i32).to_le_bytes());
        self.0.push(0);
        self.0.extend(value);
        self
    }

    pub(super) fn doc(mut self, name: &str, value: &Self) -> Self {
        self.begin(0x03, name);
        self.0.extend(value.finished());
        self
    }

    pub(super) fn array(mut self, name: &str, items: &[Self]) -> Self {
        let all =
            items.iter().enumerate().fold(Self::new(), |all, (at, item)| all.doc(&at.to_string(), item));
        self.begin(0x04, name);
        self.0.extend(all.finished());
        self
    }

    /// A value as it came: its kind and its bytes.
    pub(super) fn raw(mut self, name: &str, value: &Key) -> Self {
        self.begin(value.kind, name);
        self.0.extend(&value.bytes);
        self
    }

    /// With length and end.
    pub(super) fn finished(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + 5);
        out.extend((self.0.len() as i32 + 5).to_le_bytes());
        out.extend(&self.0);
        out.push(0);
        out
    }

    /// A JSON value in the extended form, under a name.
    fn json(mut self, name: &str, value: &serde_json::Value, depth: usize) -> Result<Self> {
        use serde_json::Value as Json;
        if depth > MOST_DEPTH {
            return Err(Error::config("the query lies too deep within itself"));
        }
        Ok(match value {
            Json::Null => {
                self.begin(0x0a, name);
                self
            }
            Json::Bool(value) => self.bool(name, *value),
            Json::String(text) => self.text(name, text),
            Json::Number(number) => match number.as_i64() {
                Some(value) => match i32::try_from(value) {
                    Ok(value) => self.i32(name, value),
                    Err(_) => self.i64(name, value),
                },
                None => self.f64(name, number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::Array(items) => {
                let mut all = Self::new();
                for (at, item) in items.iter().enumerate() {
                    all = all.json(&at.to_string(), item, depth + 1)?;
                }
                self.begin(0x04, name);
                self.0.extend(all.finished());
                self
            }
            Json::Object(object) => match extended(object)? {
                Some(key) => self.raw(name, &key),
                None => {
                    let inner = Self::of_json(value, depth + 1)?;
                    self.doc(name, &inner)
                }
            },
        })
    }

    fn f64(mut self, name: &str, value: f64) -> Self {
        self.begin(0x01, name);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A document of extended JSON.
    pub(super) fn of_json(value: &serde_json::Value, depth: usize) -> Result<Self> {
        let serde_json::Value::Object(object) = value else {
            return Err(Error::config("a query is a document").with_hint("write {\"field\": value}"));
        };
        object.iter().try_fold(Self::new(), |made, (name, value)| made.json(name, value, depth))
    }
}

/// A value as it is compared: its kind and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    kind: u8,
    bytes: Vec<u8>,
}

impl Key {
    /// The value, unless it is of a kind that cannot be a key in an order.
    pub(super) fn of(elem: &Elem<'_>) -> Option<Self> {
        let (kind, bytes) = match elem {
            Elem::Double(value) => (0x01, value.to_le_bytes().to_vec()),
            Elem::Text(text) => {
                let mut bytes = (text.len() as i32 + 1).to_le_bytes().to_vec();
                bytes.extend(text.as_bytes());
                bytes.push(0);
                (0x02, bytes)
            }
            Elem::Doc(doc) => (0x03, Written(doc.0.to_vec()).finished()),
            Elem::Binary(kind, value) if *kind != 2 => {
                let mut bytes = (value.len() as i32).to_le_bytes().to_vec();
                bytes.push(*kind);
                bytes.extend(*value);
                (0x05, bytes)
            }
            Elem::ObjectId(id) => (0x07, id.to_vec()),
            Elem::Bool(value) => (0x08, vec![(*value).into()]),
            Elem::Date(millis) => (0x09, millis.to_le_bytes().to_vec()),
            Elem::Int32(value) => (0x10, value.to_le_bytes().to_vec()),
            Elem::Int64(value) => (0x12, value.to_le_bytes().to_vec()),
            Elem::Decimal(bytes) => (0x13, bytes.to_vec()),
            Elem::Timestamp(seconds, counter) => {
                (0x11, (u64::from(*seconds) << 32 | u64::from(*counter)).to_le_bytes().to_vec())
            }
            _ => return None,
        };
        Some(Self { kind, bytes })
    }

    pub(super) fn i64(value: i64) -> Self {
        Self { kind: 0x12, bytes: value.to_le_bytes().to_vec() }
    }

    pub(super) fn date(millis: i64) -> Self {
        Self { kind: 0x09, bytes: millis.to_le_bytes().to_vec() }
    }

    pub(super) fn object_id(id: [u8; 12]) -> Self {
        Self { kind: 0x07, bytes: id.to_vec() }
    }

    /// As a position has it.
    pub(super) fn text(&self) -> String {
        format!("{:02x}{}", self.kind, hex(&self.bytes))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = unhex(text)?;
        if bytes.is_empty() {
            return None;
        }
        let kind = bytes.remove(0);
        let mut rest = Bytes(&bytes);
        rest.elem(kind).ok()?;
        rest.0.is_empty().then_some(Self { kind, bytes })
    }
}

/// What `{"$oid": ...}` and its like stand for; none for a document.
fn extended(object: &serde_json::Map<String, serde_json::Value>) -> Result<Option<Key>> {
    let Some((name, value)) = object.iter().next().filter(|_| object.len() == 1) else { return Ok(None) };
    let wrong = |form: &str| {
        Err(Error::config(format!("{value} is no value of {name} in the query"))
            .with_hint(format!("write {form}")))
    };
    let text = value.as_str();
    Ok(Some(match name.as_str() {
        "$oid" => match text.and_then(unhex).and_then(|bytes| <[u8; 12]>::try_from(bytes).ok()) {
            Some(id) => Key::object_id(id),
            None => return wrong("{\"$oid\": \"507f1f77bcf86cd799439011\"}"),
        },
        "$date" => {
            let inner = value.get("$numberLong").and_then(serde_json::Value::as_str);
            let number = value.as_i64().or_else(|| inner?.parse().ok());
            let millis = number.or_else(|| {
                let nanos = kwsync_formats::nanoseconds(text?)?;
                i64::try_from(nanos.div_euclid(1_000_000)).ok()
            });
            match millis {
                Some(millis) => Key::date(millis),
                None => return wrong("{\"$date\": \"2024-05-01T00:00:00Z\"}"),
            }
        }
        "$numberLong" => match text.and_then(|text| text.parse().ok()) {
            Some(value) => Key::i64(value),
            None => return wrong("{\"$numberLong\": \"42\"}"),
        },
        "$numberInt" => match text.and_then(|text| text.parse::<i32>().ok()) {
            Some(value) => Key { kind: 0x10, bytes: value.to_le_bytes().to_vec() },
            None => return wrong("{\"$numberInt\": \"42\"}"),
        },
        "$numberDouble" => match text.and_then(|text| text.parse::<f64>().ok()) {
            Some(value) => Key { kind: 0x01, bytes: value.to_le_bytes().to_vec() },
            None => return wrong("{\"$numberDouble\": \"4.2\"}"),
        },
        "$numberDecimal" | "$binary" | "$timestamp" | "$uuid" => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{name} cannot be written in a query here"),
            ));
        }
        _ => return Ok(None),
    }))
}

/// JSON of a query as the shell has it: `ObjectId("...")` and `ISODate("...")` stand for their extended form.
pub(super) fn query(text: &str) -> Result<Written> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    'all: while let Some(c) = rest.chars().next() {
        if c == '"' {
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            let (head, tail) =
                rest.split_at_checked(end.map_or(rest.len(), |(at, _)| at + 1)).unwrap_or((rest, ""));
            out.push_str(head);
            rest = tail;
            continue;
        }
        for (function, name) in [
            ("ObjectId(", "$oid"),
            ("ISODate(", "$date"),
            ("NumberLong(", "$numberLong"),
            ("new Date(", "$date"),
        ] {
            if let Some((inner, behind)) = rest.strip_prefix(function).and_then(|rest| rest.split_once(')')) {
                let inner = inner.trim().trim_matches(['"', '\'']);
                out.push_str(&serde_json::json!({ name: inner }).to_string());
                rest = behind;
                continue 'all;
            }
        }
        out.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    let json: serde_json::Value = serde_json::from_str(&out).map_err(|error| {
        Error::config(format!("the query is no JSON: {error}"))
            .with_hint("write {\"field\": value}, with names in double quotes; dates as {\"$date\": \"2024-05-01T00:00:00Z\"}")
    })?;
    Written::of_json(&json, 0)
}
