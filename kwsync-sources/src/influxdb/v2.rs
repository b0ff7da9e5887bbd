//! Asking a server of version 2, by Flux.

use std::collections::BTreeMap;

use hyper::StatusCode;
use kwsync_core::{Error, ErrorKind, Result, Retry, TableId};
use kwsync_formats::nanoseconds;
use serde::Deserialize;

use super::annotated::{Column, Records, Row, Tables};
use super::config::InfluxVersion;
use super::flux::{self, MARK};
use super::layout::{Keys, Layout};
use super::server::{Session, refused};
use crate::series::Sending;
use crate::series::{Answer, Ask, Cell, Columns, FieldType, Item, encode};

/// Columns that stand before those of the data: the annotation, `result` and `table`. A tag or a field may have the same name.
const ANNOTATIONS: usize = 3;

/// What a refusal looks like.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

/// The rows of an answer.
struct Rows {
    answer: Answer,
    records: Records,
    tables: Tables,
    pending: bytes::Bytes,
    most: usize,
    bytes: u64,
    ended: bool,
}

impl Rows {
    /// Hands the next row to `take`; false at the end.
    async fn next(&mut self, take: impl FnOnce(Row<'_>) -> Result<()>) -> Result<bool> {
        loop {
            let record = if self.pending.is_empty() {
                match self.answer.chunk().await? {
                    Some(chunk) => {
                        self.bytes += chunk.len() as u64;
                        self.pending = chunk;
                        continue;
                    }
                    None if self.ended => return Ok(false),
                    None => {
                        self.ended = true;
                        self.records.finish()?
                    }
                }
            } else {
                let (taken, record) = self.records.push(&self.pending)?;
                drop(self.pending.split_to(taken));
                record
            };
            if self.records.begun() > self.most {
                let text = format!("the server sent more than {} bytes in a row", self.most);
                return Err(Error::new(ErrorKind::Limit, text).with_hint("raise batch_size="));
            }
            let Some(record) = record else { continue };
            if let Some(row) = self.tables.push(record)? {
                take(row)?;
                return Ok(true);
            }
        }
    }
}

impl Session {
    async fn flux(&mut self, script: &str) -> Result<Rows> {
        tracing::debug!(%script, "asking");
        let InfluxVersion::V2 { org } = &self.options.version else {
            return Err(Error::new(ErrorKind::Internal, "Flux for a server of version 1"));
        };
        let dialect = serde_json::json!({
            "header": true,
            "delimiter": ",",
            "annotations": ["datatype", "group", "default"],
            "commentPrefix": "#",
            "dateTimeFormat": "RFC3339Nano",
        });
        let body = serde_json::json!({"query": script, "type": "flux", "dialect": dialect});
        let path = format!("/api/v2/query?org={}", encode(org));
        let mut ask = Ask::post(path, "application/json", body.to_string());
        ask.accept = "application/csv";
        let mut answer = self.http.ask(&ask).await?;
        if answer.status != StatusCode::OK {
            let status = answer.status;
            let text = answer.text().await?;
            let said = serde_json::from_str::<Refusal>(&text).map_or(text, |refusal| refusal.message);
            return Err(refused(status, &said));
        }
        let most = self.options.batch_bytes.saturating_mul(8).max(64 << 20);
        Ok(Rows {
            answer,
            records: Records::default(),
            tables: Tables::default(),
            pending: bytes::Bytes::new(),
            most,
            bytes: 0,
            ended: false,
        })
    }

    /// The values of a column of a short answer.
    async fn texts(&mut self, script: &str, column: &str) -> Result<Vec<String>> {
        let mut rows = self.flux(script).await?;
        let mut found = Vec::new();
        while rows
            .next(|row| {
                found.extend(row.get(column).map(str::to_owned));
                Ok(())
            })
            .await?
        {}
        Ok(found)
    }

    /// The measurements that have points in a range.
    pub(super) async fn flux_measurements(&mut self, range: (i128, i128)) -> Result<Vec<String>> {
        let script = flux::measurements(&self.options.bucket, range);
        self.texts(&script, "_value").await
    }

    /// As [`Session::keys`], of what has points in a range.
    pub(super) async fn flux_keys(
        &mut self,
        measurements: &[String],
        range: (i128, i128),
    ) -> Result<BTreeMap<String, Keys>> {
        let bucket = self.options.bucket.clone();
        let all = match measurements {
            [] => self.flux_measurements(range).await?,
            some => some.to_vec(),
        };
        let mut found = BTreeMap::new();
        for measurement in all {
            let mut keys = Keys::default();
            let mut rows = self.flux(&flux::fields(&bucket, &measurement, range)).await?;
            while rows
                .next(|row| {
                    let (Some(name), Some(data_type)) = (row.get("_field"), row.type_of("_value")) else {
                        return Ok(());
                    };
                    let Some(field_type) = field_type(data_type) else {
                        let text = format!(
                            "{measurement}: the field {name:?} has the type {data_type:?}, which is not known"
                        );
                        return Err(Error::new(ErrorKind::Unsupported, text));
                    };
                    let types: &mut Vec<FieldType> = keys.fields.entry(name.to_owned()).or_default();
                    types.push(field_type);
                    types.sort_unstable();
                    types.dedup();
                    Ok(())
                })
                .await?
            {}
            if keys.fields.is_empty() {
                continue;
            }
            let tags = self.texts(&flux::tags(&bucket, &measurement, range), "_value").await?;
            keys.tags = tags.into_iter().filter(|tag| !tag.starts_with('_')).collect();
            let clash = keys.tags.iter().find(|tag| keys.fields.contains_key(*tag));
            if let Some(name) = clash {
                let text = format!(
                    "{measurement}: {name:?} is a tag and a field, which Flux cannot tell apart in one row"
                );
                return Err(Error::new(ErrorKind::Unsupported, text)
                    .with_hint("leave the measurement out with measurements="));
            }
            if let Some((name, _)) = keys.fields.iter().find(|(_, types)| types.len() > 1) {
                let text = format!(
                    "{measurement}: the field {name:?} has several types, which Flux does not put into one column"
                );
                return Err(Error::new(ErrorKind::Schema, text)
                    .with_hint("read the ranges of time in which it has one type by jobs of their own"));
            }
            found.insert(measurement, keys);
        }
        Ok(found)
    }

    /// As [`Session::end`].
    pub(super) async fn flux_end(
        &mut self,
        measurement: &str,
        range: (i128, i128),
        last: bool,
    ) -> Result<Option<i128>> {
        let script = flux::end(&self.options.bucket, measurement, range, last);
        let times = self.texts(&script, "_time").await?;
        times.first().map(|text| moment_of(text)).transpose()
    }

    /// As [`Session::read`].
    pub(super) async fn flux_read(
        &mut self,
        table: &TableId,
        layout: &Layout,
        range: (i128, i128),
        sending: &mut Sending<'_>,
    ) -> Result<u64> {
        let script = flux::select(&self.options.bucket, table.name(), &layout.items, range);
        let mut rows = self.flux(&script).await?;
        let mut columns = Columns::new(table, &layout.schema, &layout.items, "influxdb");
        let strict = self.options.columns.is_empty();
        let (mut header, mut places) = (Vec::new(), Vec::new());
        let (mut all, mut counted) = (0, 0);
        while rows
            .next(|row| {
                if row.columns != header.as_slice() {
                    header = row.columns.to_vec();
                    places = layout.items.iter().map(|item| place(item, &header)).collect();
                    if strict {
                        check(table, layout, &header)?;
                    }
                }
                take(&row, &layout.items, &places, &mut columns)
            })
            .await?
        {
            all += 1;
            if columns.rows() >= self.options.batch_rows || columns.bytes() >= self.options.batch_bytes {
                sending.push(columns.finish(rows.bytes - counted)?).await?;
                counted = rows.bytes;
            }
        }
        sending.push(columns.finish(rows.bytes - counted)?).await?;
        Ok(all)
    }
}

fn field_type(data_type: &str) -> Option<FieldType> {
    Some(match data_type {
        "double" => FieldType::Float,
        "long" => FieldType::Integer,
        "unsignedLong" => FieldType::Unsigned,
        "string" => FieldType::String,
        "boolean" => FieldType::Boolean,
        _ => return None,
    })
}

/// Where the values of an item stand; nowhere, if no point of the range has one.
fn place(item: &Item, header: &[Column]) -> Option<usize> {
    let name = match item {
        Item::Time => "_time",
        Item::Tag(name) | Item::Field(name, _) | Item::Widened(name) => name,
    };
    header.iter().enumerate().skip(ANNOTATIONS).find(|(_, column)| column.name == name).map(|(at, _)| at)
}

/// Whether every column of an answer is known: a tag or field that came up since the keys were listed must not be lost.
pub(super) fn check(table: &TableId, layout: &Layout, header: &[Column]) -> Result<()> {
    let known = |column: &&Column| {
        column.name == "_time"
            || layout.items.iter().any(|item| match item {
                Item::Tag(name) | Item::Field(name, _) | Item::Widened(name) => *name == column.name,
                Item::Time => false,
            })
    };
    match header.iter().skip(ANNOTATIONS).find(|column| !known(column)) {
        Some(new) => {
            let text = format!("{table}: {:?} has come up while the points were read", new.name);
            Err(Error::new(ErrorKind::Schema, text).with_retry(Retry::Now))
        }
        None => Ok(()),
    }
}

fn moment_of(text: &str) -> Result<i128> {
    nanoseconds(text)
        .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("the server sent {text:?} for a time")))
}

/// Puts a row into its columns.
fn take(row: &Row<'_>, items: &[Item], places: &[Option<usize>], columns: &mut Columns) -> Result<()> {
    let unfit = |fault: String| Error::new(ErrorKind::Schema, fault).with_retry(Retry::Backoff);
    let cell =
        |at: &Option<usize>| at.and_then(|at| row.cells.get(at)).map(String::as_str).unwrap_or_default();
    let values = || items.iter().zip(places);
    let time = values().find(|(item, _)| **item == Item::Time).map(|(_, at)| cell(at)).unwrap_or_default();
    let time = i64::try_from(moment_of(time)?)
        .map_err(|_| Error::new(ErrorKind::Protocol, format!("the time {time} does not fit into 64 bits")))?;
    columns.begin(time);
    for (item, at) in values().filter(|(item, _)| **item != Item::Time) {
        let text = cell(at);
        let data_type =
            at.and_then(|at| row.columns.get(at)).map(|column| column.data_type.as_str()).unwrap_or_default();
        let parsed = match (item, data_type) {
            _ if text.is_empty() => Some(Cell::Null),
            (Item::Tag(_), _) => Some(Cell::Text(text)),
            (_, "string") => text.strip_prefix(MARK).map(Cell::Text),
            (_, "boolean") => text.parse().ok().map(Cell::Bool),
            (_, "long") => text.parse().ok().map(Cell::Int),
            (_, "unsignedLong") => text.parse().ok().map(Cell::UInt),
            (_, "double") => text.parse().ok().map(Cell::Float),
            _ => None,
        };
        let parsed = parsed.ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!("the server sent {text:?} for a value of type {data_type:?}"),
            )
        })?;
        columns.push(parsed).map_err(unfit)?;
    }
    columns.end().map_err(unfit)
}
