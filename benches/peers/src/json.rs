//! JSON: the same rows by kwsync, by arrow-json, and by sonic-rs into structs.
// The structs are filled, and that is all.
#![allow(dead_code)]

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use bytes::{Buf, Bytes};
use kwsync_bench::json::{FIELDS, Kind};
use kwsync_core::Decoder;
use kwsync_formats::json::kaiwudb::{KaiwudbJsonDecoder, KaiwudbJsonOptions};
use kwsync_formats::json::opentsdb::{OpentsdbJsonDecoder, OpentsdbJsonOptions};
use kwsync_formats::json::{JsonDecoder, JsonOptions};
use serde::Deserialize;

use crate::CHUNK;

/// A decoder of this kind of data.
///
/// # Panics
/// Never; every kind has one.
#[must_use]
pub fn decoder(kind: Kind) -> Box<dyn Decoder> {
    match kind {
        Kind::Cpu | Kind::Iot | Kind::Sens => Box::new(JsonDecoder::new(JsonOptions::new())),
        Kind::Opentsdb => Box::new(OpentsdbJsonDecoder::new(OpentsdbJsonOptions::new())),
        Kind::Kaiwudb => Box::new(KaiwudbJsonDecoder::new(KaiwudbJsonOptions::new())),
    }
}

/// Decodes `input` to finished Arrow batches and returns the number of rows.
///
/// # Panics
/// If a record is refused, or a decoder fails.
#[must_use]
pub fn kwsync(kind: Kind, input: &Bytes) -> usize {
    let mut decoder = decoder(kind);
    let mut rows = 0;
    let mut flush = |decoder: &mut dyn Decoder| {
        let decoded = decoder.flush().expect("batches");
        assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects.first());
        rows += decoded.batches.iter().map(|batch| batch.rows()).sum::<usize>();
    };
    let mut at = 0;
    while at < input.len() {
        let mut chunk = input.slice(at..input.len().min(at + CHUNK));
        at += chunk.len();
        while !chunk.is_empty() {
            let used = decoder.decode(&chunk).expect("decode");
            chunk.advance(used);
            if decoder.wants_flush() {
                flush(&mut *decoder);
            }
        }
    }
    decoder.finish().expect("finish");
    flush(&mut *decoder);
    rows
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn schema(kind: Kind) -> Schema {
    let float = |name: &&str| Field::new(*name, DataType::Float64, true);
    let int = |name: &str| Field::new(name, DataType::Int64, true);
    let mut fields: Vec<Field> = match kind {
        Kind::Cpu | Kind::Kaiwudb => {
            let tags = [
                "hostname",
                "region",
                "datacenter",
                "rack",
                "os",
                "arch",
                "team",
                "service",
                "service_version",
                "service_environment",
            ];
            let mut fields = vec![int("k_timestamp")];
            fields.extend(tags.iter().map(|tag| text(tag)));
            fields.extend(FIELDS.iter().map(|field| int(field)));
            fields
        }
        Kind::Iot => {
            let mut fields: Vec<_> = ["name", "fleet", "driver"].iter().map(|tag| text(tag)).collect();
            fields.push(int("ts"));
            let floats = ["latitude", "longitude", "elevation", "velocity", "fuel_consumption", "load"];
            fields.extend(floats.iter().map(float));
            fields
        }
        Kind::Sens => {
            let mut fields: Vec<_> = ["id", "site"].iter().map(|tag| text(tag)).collect();
            fields.push(int("ts"));
            let floats = ["temperature", "humidity", "pressure", "vibration", "current", "voltage"];
            fields.extend(floats.iter().map(float));
            fields
        }
        Kind::Opentsdb => {
            let tags = vec![text("hostname"), text("region"), text("datacenter")];
            vec![
                text("metric"),
                int("timestamp"),
                int("value"),
                Field::new("tags", DataType::Struct(tags.into()), true),
            ]
        }
    };
    if kind == Kind::Kaiwudb {
        let column = DataType::Struct(vec![text("name"), text("type"), int("length")].into());
        let tag = vec![
            text("name"),
            text("type"),
            int("length"),
            Field::new("isPrimary", DataType::Boolean, true),
            Field::new("nullable", DataType::Boolean, true),
        ];
        let list =
            |name: &str, item: DataType| Field::new_list(name, Field::new_list_field(item, true), true);
        fields = vec![
            text("table"),
            list("columns", column),
            list("data", DataType::Struct(fields.into())),
            list("tags", DataType::Struct(tag.into())),
        ];
    }
    Schema::new(fields)
}

/// Decodes `input` with arrow-json and returns the number of rows that it found. An array a line is cut up for it
/// beforehand, by the caller.
///
/// # Panics
/// If a row is refused.
#[must_use]
pub fn arrow_json(kind: Kind, input: &[u8]) -> usize {
    let mut decoder = arrow_json::ReaderBuilder::new(Arc::new(schema(kind)))
        .with_batch_size(8192)
        .build_decoder()
        .expect("decoder");
    let mut rows = 0;
    let mut rest = input;
    while !rest.is_empty() {
        let chunk = rest.get(..CHUNK).unwrap_or(rest);
        let used = decoder.decode(chunk).expect("rows");
        rest = &rest[used..];
        if used < chunk.len() || rest.is_empty() {
            rows += decoder.flush().expect("batch").map_or(0, |batch| batch.num_rows());
        }
    }
    rows
}

#[derive(Deserialize)]
struct Cpu<'a> {
    k_timestamp: i64,
    #[serde(borrow)]
    hostname: &'a str,
    region: &'a str,
    datacenter: &'a str,
    rack: &'a str,
    os: &'a str,
    arch: &'a str,
    team: &'a str,
    service: &'a str,
    service_version: &'a str,
    service_environment: &'a str,
    usage_user: i64,
    usage_system: i64,
    usage_idle: i64,
    usage_nice: i64,
    usage_iowait: i64,
    usage_irq: i64,
    usage_softirq: i64,
    usage_steal: i64,
    usage_guest: i64,
    usage_guest_nice: i64,
}

#[derive(Deserialize)]
struct Iot<'a> {
    #[serde(borrow)]
    name: &'a str,
    fleet: &'a str,
    driver: &'a str,
    ts: i64,
    latitude: f64,
    longitude: f64,
    elevation: f64,
    velocity: f64,
    fuel_consumption: f64,
    load: f64,
}

#[derive(Deserialize)]
struct Sens<'a> {
    #[serde(borrow)]
    id: &'a str,
    site: &'a str,
    ts: i64,
    temperature: f64,
    humidity: f64,
    pressure: f64,
    vibration: f64,
    current: f64,
    voltage: f64,
}

#[derive(Deserialize)]
struct Point<'a> {
    #[serde(borrow)]
    metric: &'a str,
    timestamp: i64,
    value: i64,
    tags: Tags<'a>,
}

#[derive(Deserialize)]
struct Tags<'a> {
    #[serde(borrow)]
    hostname: &'a str,
    region: &'a str,
    datacenter: &'a str,
}

#[derive(Deserialize)]
struct Rows<'a> {
    #[serde(borrow)]
    table: &'a str,
    columns: Vec<ColumnOf<'a>>,
    data: Vec<Cpu<'a>>,
    tags: Vec<ColumnOf<'a>>,
}

#[derive(Deserialize)]
struct ColumnOf<'a> {
    #[serde(borrow)]
    name: &'a str,
    r#type: &'a str,
    length: u32,
}

/// Deserializes each line of `input` into structs with sonic-rs and returns the number of rows.
///
/// # Panics
/// If a line is refused.
#[must_use]
pub fn sonic(kind: Kind, input: &[u8]) -> usize {
    fn each<'a, T: Deserialize<'a>>(input: &'a [u8], rows: impl Fn(&T) -> usize) -> usize {
        let mut count = 0;
        for line in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row: T = sonic_rs::from_slice(line).expect("row");
            count += rows(std::hint::black_box(&row));
        }
        count
    }
    match kind {
        Kind::Cpu => each::<Cpu<'_>>(input, |_| 1),
        Kind::Iot => each::<Iot<'_>>(input, |_| 1),
        Kind::Sens => each::<Sens<'_>>(input, |_| 1),
        Kind::Opentsdb => each::<Vec<Point<'_>>>(input, Vec::len),
        Kind::Kaiwudb => each::<Rows<'_>>(input, |rows| rows.data.len()),
    }
}
