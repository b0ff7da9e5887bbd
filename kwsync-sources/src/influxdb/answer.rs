//! Answers to InfluxQL as JSON. CSV would be shorter, but has no way to tell a null from an empty text.

use std::fmt;

use kwsync_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::series::{Cell, Columns};

/// An answer that fits into memory.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Small {
    #[serde(default)]
    pub(super) results: Vec<SmallResult>,
    pub(super) error: Option<String>,
}

/// The answer to one statement.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SmallResult {
    #[serde(default)]
    pub(super) series: Vec<SmallSeries>,
    pub(super) error: Option<String>,
    /// Whether more was to follow.
    #[serde(default)]
    pub(super) partial: bool,
}

/// One series of it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SmallSeries {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) values: Vec<Vec<serde_json::Value>>,
}

impl Small {
    /// All documents of an answer in one: what comes by pieces is not cut by `max-row-limit` of the server's configuration.
    pub(super) fn of(text: &str) -> Result<Self> {
        let wrong = || {
            let shown: String = text.chars().take(200).collect();
            Error::new(ErrorKind::Protocol, format!("the server answered {shown:?}"))
                .with_hint("check host and port: an InfluxDB answers in JSON")
        };
        let mut whole: Option<Self> = None;
        for document in serde_json::Deserializer::from_str(text).into_iter::<Self>() {
            let document = document.map_err(|error| wrong().with_source(error))?;
            match &mut whole {
                Some(whole) => {
                    whole.results.extend(document.results);
                    whole.error = whole.error.take().or(document.error);
                }
                None => whole = Some(document),
            }
        }
        whole.ok_or_else(wrong)
    }

    /// Whether its end is missing.
    pub(super) fn is_partial(&self) -> bool {
        self.results.last().is_some_and(|result| result.partial)
    }

    /// What the server complains of.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref().or_else(|| self.results.iter().find_map(|result| result.error.as_deref()))
    }
}

/// What a document of a chunked answer says beside its rows.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// What the server complains of.
    pub(super) error: Option<String>,
    /// Whether more documents follow.
    pub(super) partial: bool,
}

/// Reads a document of a chunked answer; its rows go into `columns`.
pub(super) fn document(text: &[u8], columns: &mut Columns) -> Result<Document> {
    let mut state = State { columns, document: Document::default(), fault: None };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read =
        At { level: Level::Root, state: &mut state }.deserialize(&mut reader).and_then(|()| reader.end());
    let State { document, fault, .. } = state;
    match (fault, read) {
        // The keys were listed before: somebody writes another type now.
        (Some(fault), _) => Err(Error::new(ErrorKind::Schema, fault).with_retry(kwsync_core::Retry::Backoff)),
        (None, Err(error)) => {
            Err(Error::new(ErrorKind::Protocol, "the server sent rows that cannot be read")
                .with_source(error))
        }
        (None, Ok(())) => Ok(document),
    }
}

struct State<'c> {
    columns: &'c mut Columns,
    document: Document,
    fault: Option<String>,
}

/// How deep in a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Results,
    Result,
    AllSeries,
    Series,
    Rows,
    Row,
}

struct At<'s, 'c> {
    level: Level,
    state: &'s mut State<'c>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    Results,
    Series,
    Values,
    Partial,
    Error,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.level {
            Level::Root | Level::Result | Level::Series => deserializer.deserialize_map(self),
            _ => deserializer.deserialize_seq(self),
        }
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of InfluxDB")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { level, state } = self;
        while let Some(key) = map.next_key::<Key>()? {
            let inner = match (level, key) {
                (Level::Root, Key::Results) => Level::Results,
                (Level::Result, Key::Series) => Level::AllSeries,
                (Level::Series, Key::Values) => Level::Rows,
                (_, Key::Error) => {
                    state.document.error = Some(map.next_value()?);
                    continue;
                }
                (Level::Result, Key::Partial) => {
                    state.document.partial = map.next_value()?;
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            map.next_value_seed(At { level: inner, state })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { level, state } = self;
        let inner = match level {
            Level::Results => Level::Result,
            Level::AllSeries => Level::Series,
            Level::Rows => Level::Row,
            _ => return row(state, seq),
        };
        while seq.next_element_seed(At { level: inner, state: &mut *state })?.is_some() {}
        Ok(())
    }
}

fn row<'de, A: SeqAccess<'de>>(state: &mut State<'_>, mut seq: A) -> Result<(), A::Error> {
    let Some(time) = seq.next_element::<i64>()? else {
        return Err(de::Error::custom("a point without a time"));
    };
    state.columns.begin(time);
    while seq.next_element_seed(CellOf { state: &mut *state })?.is_some() {}
    check(state, |columns| columns.end())
}

fn check<E: de::Error>(
    state: &mut State<'_>,
    take: impl FnOnce(&mut Columns) -> Result<(), String>,
) -> Result<(), E> {
    take(state.columns).map_err(|fault| {
        state.fault = Some(fault);
        E::custom("a value that does not fit")
    })
}

struct CellOf<'s, 'c> {
    state: &'s mut State<'c>,
}

impl CellOf<'_, '_> {
    fn take<E: de::Error>(self, cell: Cell<'_>) -> Result<(), E> {
        check(self.state, |columns| columns.push(cell))
    }
}

impl<'de> DeserializeSeed<'de> for CellOf<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellOf<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.take(Cell::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.take(Cell::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.take(Cell::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.take(i64::try_from(value).map_or(Cell::UInt(value), Cell::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.take(Cell::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.take(Cell::Text(value))
    }
}
