//! The formats of JSON by name.

use std::sync::Arc;

use kwsync_core::config::{ConnectorInfo, EncoderFactory, Param, Params, Registry};
use kwsync_core::{Decoder, DecoderFactory, Encoder, Error, Result, TimeUnit};

use super::kaiwudb::{KaiwudbJsonDecoder, KaiwudbJsonEncoder, KaiwudbJsonOptions};
use super::mapping::{Mapping, MappingDecoder, MappingOptions, Subtables};
use super::opentsdb::{ClockUnit, Metric, OpentsdbJsonDecoder, OpentsdbJsonEncoder, OpentsdbJsonOptions};
use super::{
    Conflict, JsonDecoder, JsonOptions, NdjsonEncoder, NdjsonOptions, NonFinite, Nulls, Objects, Records,
};
use crate::Limits;
use crate::influx::MissingTimestamp;

static JSON: &[Param] = &[
    Param::text("table", "the table of the rows").with_default("json"),
    Param::text("table_key", "the key whose value is the name of the table, read and written"),
    Param::choice("objects", &["columns", "json"], "what objects within objects become: a column for each value, named by the path to it (a.b), or JSON text")
        .with_default("columns"),
    Param::choice("conflict", &["reject", "null"], "what becomes of a value whose column is of another type").with_default("reject"),
    Param::text("types", "columns whose types are given: name:type, separated by commas (id:i32,price:numeric(10,2))"),
    Param::text("time", "the key of the row's time"),
    Param::choice("precision", &["s", "ms", "us", "ns"], "the unit of times that are integers").with_default("ms"),
    Param::choice("missing_timestamp", &["receive", "null", "reject"], "what a record without its time gets: the time of receipt, null, or a reject")
        .with_aliases(&["missing_ts"])
        .with_default("receive"),
    Param::choice("subtables", &["column", "drop", "table"], "with a parser, what becomes of subtables' names: the column tbname, nothing, or the name of the table")
        .with_default("column"),
    Param::choice("records", &["auto", "lines", "values"], "whether an object ends on its line (auto: in files, not in messages)")
        .with_default("auto"),
    Param::size("max_record_bytes", "the longest object that is read; a longer one is a reject").with_default("64MiB"),
    Param::int("max_columns", 1, 1 << 20, "the most columns of a table").with_default("4096"),
    Param::int("max_tables", 1, 1 << 20, "the most tables").with_default("65536"),
    Param::choice("nulls", &["omit", "write"], "whether a null is left out or written").with_default("omit"),
    Param::choice("nonfinite", &["text", "null", "reject"], "what NaN and the infinities are written as").with_default("text"),
];

static OPENTSDB: &[Param] = &[
    Param::choice(
        "metric",
        &["verbatim", "underscore", "split"],
        "what a metric's name says: the table as it is, the table with _ for every dot, or the table and behind the last dot the column",
    )
    .with_default("verbatim"),
    Param::choice("precision", &["auto", "s", "ms"], "the unit of the timestamps (auto: up to 32 bits are seconds; written as ms)")
        .with_default("auto"),
    Param::text("time_column", "the name of the time column (k_timestamp with underscore, else timestamp)"),
    Param::choice("strings", &["number", "text"], "what a value is that is a string and reads as a number").with_default("number"),
    Param::size("max_record_bytes", "the longest point that is read; a longer one is a reject").with_default("64MiB"),
    Param::int("max_columns", 1, 1 << 20, "the most columns of a table").with_default("4096"),
    Param::int("max_tables", 1, 1 << 20, "the most tables").with_default("65536"),
];

static KAIWUDB: &[Param] = &[
    Param::choice(
        "precision",
        &["ms", "us", "ns"],
        "the unit of times that are integers, and of the time columns",
    )
    .with_default("ms"),
    Param::choice(
        "records",
        &["auto", "lines", "values"],
        "whether an object ends on its line (auto: in files, not in messages)",
    )
    .with_default("auto"),
    Param::int("rows", 1, 1 << 20, "the most rows of an object that is written").with_default("100"),
    Param::size("max_record_bytes", "the longest object that is read; a longer one is a reject")
        .with_default("64MiB"),
    Param::int("max_columns", 1, 1 << 20, "the most columns of a table").with_default("4096"),
    Param::int("max_tables", 1, 1 << 20, "the most tables").with_default("65536"),
];

/// The bounds that parameters of these names set.
pub(crate) fn limits(params: &Params) -> Limits {
    let mut limits = Limits::new();
    if let Some(bytes) = params.size("max_record_bytes").and_then(|bytes| usize::try_from(bytes).ok()) {
        limits = limits.with_max_record_bytes(bytes);
    }
    if let Some(columns) = params.int("max_columns") {
        limits = limits.with_max_columns(columns.unsigned_abs() as usize);
    }
    if let Some(tables) = params.int("max_tables") {
        limits = limits.with_max_tables(tables.unsigned_abs() as usize);
    }
    limits
}

fn records(params: &Params) -> Records {
    match params.choice("records") {
        Some("lines") => Records::Lines,
        Some("values") => Records::Values,
        _ => Records::Auto,
    }
}

fn missing(params: &Params) -> MissingTimestamp {
    match params.choice("missing_timestamp") {
        Some("null") => MissingTimestamp::Null,
        Some("reject") => MissingTimestamp::Reject,
        _ => MissingTimestamp::Receive,
    }
}

fn precision(params: &Params) -> TimeUnit {
    params.choice("precision").and_then(|unit| unit.parse().ok()).unwrap_or(TimeUnit::Millisecond)
}

fn options(params: &Params) -> Result<JsonOptions> {
    let mut options = JsonOptions::new()
        .with_table(params.text("table").unwrap_or("json"))
        .with_objects(if params.choice("objects") == Some("json") { Objects::Json } else { Objects::Columns })
        .with_conflict(if params.choice("conflict") == Some("null") {
            Conflict::Null
        } else {
            Conflict::Reject
        })
        .with_records(records(params))
        .with_missing_timestamp(missing(params))
        .with_limits(limits(params));
    if let Some(key) = params.text("table_key") {
        options = options.with_table_key(key);
    }
    if let Some(key) = params.text("time") {
        options = options.with_time(key, precision(params));
    }
    if let Some(text) = params.text("types") {
        options = options.with_types(Arc::new(crate::given::types(text)?));
    }
    Ok(options)
}

/// The options of a decoder by mapping. What belongs to inference is refused beside one.
fn mapping(text: &str, params: &Params) -> Result<MappingOptions> {
    for name in ["table", "table_key", "objects", "conflict", "types", "time", "precision"] {
        if params.is_given(name) {
            return Err(Error::config(format!(
                "{name}= has no meaning beside a parser, which says all of it"
            )));
        }
    }
    let subtables = match params.choice("subtables") {
        Some("drop") => Subtables::Drop,
        Some("table") => Subtables::Table,
        _ => Subtables::Column,
    };
    if missing(params) == MissingTimestamp::Null {
        return Err(Error::config("missing_timestamp=null: the first column of a model is never null")
            .with_hint("use receive or reject"));
    }
    Ok(MappingOptions::new(Mapping::parse(text)?)
        .with_subtables(subtables)
        .with_missing_timestamp(missing(params))
        .with_records(records(params))
        .with_limits(limits(params)))
}

fn metric(params: &Params) -> Metric {
    match params.choice("metric") {
        Some("underscore") => Metric::Underscore,
        Some("split") => Metric::Split,
        _ => Metric::Verbatim,
    }
}

fn clock_unit(params: &Params) -> ClockUnit {
    match params.choice("precision") {
        Some("s") => ClockUnit::S,
        Some("ms") => ClockUnit::Ms,
        _ => ClockUnit::Auto,
    }
}

fn register_opentsdb(registry: &mut Registry) {
    let info =
        ConnectorInfo::format("json_opentsdb", "OpenTSDB's points as JSON, one after another or in an array")
            .with_params(OPENTSDB);
    registry.register_decoder(info, |request| {
        let mut options = OpentsdbJsonOptions::new()
            .with_metric(metric(request.params))
            .with_unit(clock_unit(request.params))
            .with_text_values(request.params.choice("strings") == Some("text"))
            .with_limits(limits(request.params));
        if let Some(name) = request.params.text("time_column") {
            options = options.with_time_column(name);
        }
        let schemas = Arc::clone(request.schemas);
        let make: DecoderFactory = Arc::new(move || {
            let decoder = OpentsdbJsonDecoder::new(options.clone()).with_registry(Arc::clone(&schemas));
            Ok(Box::new(decoder) as Box<dyn Decoder>)
        });
        Ok(make)
    });
    registry.register_encoder(info, |request| {
        let (metric, unit) = (metric(request.params), clock_unit(request.params));
        let make: EncoderFactory =
            Arc::new(move || Ok(Box::new(OpentsdbJsonEncoder::new(metric, unit)) as Box<dyn Encoder>));
        Ok(make)
    });
}

fn register_kaiwudb(registry: &mut Registry) {
    let info = ConnectorInfo::format(
        "json_kaiwudb",
        "KaiwuDB's JSON: a table's columns, tags and rows in one object",
    )
    .with_aliases(&["kaiwudb_json"])
    .with_params(KAIWUDB)
    .with_line_records();
    registry.register_decoder(info, |request| {
        let options = KaiwudbJsonOptions::new()
            .with_unit(precision(request.params))
            .with_records(records(request.params))
            .with_limits(limits(request.params));
        let schemas = Arc::clone(request.schemas);
        let make: DecoderFactory = Arc::new(move || {
            let decoder = KaiwudbJsonDecoder::new(options.clone()).with_registry(Arc::clone(&schemas));
            Ok(Box::new(decoder) as Box<dyn Decoder>)
        });
        Ok(make)
    });
    registry.register_encoder(info, |request| {
        let unit = precision(request.params);
        let rows = request.params.int("rows").map_or(100, |rows| rows.unsigned_abs() as usize);
        let make: EncoderFactory =
            Arc::new(move || Ok(Box::new(KaiwudbJsonEncoder::new(unit).with_rows(rows)) as Box<dyn Encoder>));
        Ok(make)
    });
}

/// Adds the formats of JSON to `registry`.
pub(crate) fn register(registry: &mut Registry) {
    register_kaiwudb(registry);
    register_opentsdb(registry);
    let info = ConnectorInfo::format("json", "JSON objects, one a line or in an array")
        .with_aliases(&["ndjson", "jsonl"])
        .with_params(JSON)
        .with_line_records()
        .with_spanned_lines("records", "values")
        .with_parser();
    registry.register_decoder(info, |request| {
        let schemas = Arc::clone(request.schemas);
        if let Some(text) = request.parser {
            let options = mapping(text, request.params)?;
            let make: DecoderFactory = Arc::new(move || {
                let decoder = MappingDecoder::new(options.clone()).with_registry(Arc::clone(&schemas));
                Ok(Box::new(decoder) as Box<dyn Decoder>)
            });
            return Ok(make);
        }
        let options = options(request.params)?;
        let make: DecoderFactory = Arc::new(move || {
            let decoder = JsonDecoder::new(options.clone()).with_registry(Arc::clone(&schemas));
            Ok(Box::new(decoder) as Box<dyn Decoder>)
        });
        Ok(make)
    });
    registry.register_encoder(info, |request| {
        let nulls = if request.params.choice("nulls") == Some("write") { Nulls::Write } else { Nulls::Omit };
        let non_finite = match request.params.choice("nonfinite") {
            Some("null") => NonFinite::Null,
            Some("reject") => NonFinite::Reject,
            _ => NonFinite::Text,
        };
        let mut options = NdjsonOptions::new().with_nulls(nulls).with_non_finite(non_finite);
        if let Some(key) = request.params.text("table_key") {
            options = options.with_table_key(key);
        }
        let make: EncoderFactory =
            Arc::new(move || Ok(Box::new(NdjsonEncoder::new(options.clone())) as Box<dyn Encoder>));
        Ok(make)
    });
}
