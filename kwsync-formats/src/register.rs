//! The formats of this crate, by name and with their parameters, for those who choose them at run time.

use std::sync::Arc;

use kwsync_core::config::{ConnectorInfo, EncoderFactory, Param, Params, Registry};
use kwsync_core::{Decoder, DecoderFactory, Encoder, Error, Result};

use crate::influx::{
    DEFAULT_MAX_LINE_BYTES, Dialect, LineDecoder, LineEncoder, LineOptions, MissingTimestamp, Precision,
    TagEncoding,
};

static LINE_INFLUXDB: &[Param] = &[
    Param::choice(
        "precision",
        &["s", "ms", "us", "ns", "auto"],
        "the unit of the timestamps; auto tells it from each one's size",
    )
    .with_default("ns"),
    Param::choice("dialect", &["influx", "kwdb", "tdengine"], "whose line protocol it is")
        .with_default("influx"),
    Param::text("time_column", "the name of the time column").with_default("time"),
    Param::choice(
        "missing_timestamp",
        &["receive", "null", "reject"],
        "what a record without a timestamp gets: the time of receipt, null, or a reject",
    )
    .with_default("receive"),
    Param::choice("tags", &["view", "dictionary"], "how tags lie in memory").with_default("view"),
    Param::text(
        "types",
        "columns whose types are given: name:type, separated by commas (c13:timestamptz(ms),n:i32)",
    ),
    Param::size("max_line_bytes", "the longest line that is read; a longer one is a reject")
        .with_default("64MiB"),
];

fn precision(params: &Params) -> Precision {
    match params.choice("precision") {
        Some("s") => Precision::S,
        Some("ms") => Precision::Ms,
        Some("us") => Precision::Us,
        Some("auto") => Precision::Auto,
        _ => Precision::Ns,
    }
}

fn dialect(params: &Params) -> Dialect {
    match params.choice("dialect") {
        Some("kwdb") => Dialect::Kwdb,
        Some("tdengine") => Dialect::Tdengine,
        _ => Dialect::Influx,
    }
}

/// The options of a line-protocol decoder from checked parameters.
fn line_options(params: &Params) -> Result<LineOptions> {
    let missing = match params.choice("missing_timestamp") {
        Some("null") => MissingTimestamp::Null,
        Some("reject") => MissingTimestamp::Reject,
        _ => MissingTimestamp::Receive,
    };
    let time_column = params.text("time_column").unwrap_or("time");
    if time_column.is_empty() {
        return Err(Error::config("time_column needs a name"));
    }
    let tags = match params.choice("tags") {
        Some("dictionary") => TagEncoding::Dictionary,
        _ => TagEncoding::View,
    };
    let longest = params.size("max_line_bytes").and_then(|bytes| usize::try_from(bytes).ok());
    let options = LineOptions::default()
        .with_dialect(dialect(params))
        .with_precision(precision(params))
        .with_missing_timestamp(missing)
        .with_time_column(time_column)
        .with_tag_encoding(tags)
        .with_max_line_bytes(longest.unwrap_or(DEFAULT_MAX_LINE_BYTES));
    Ok(match params.text("types") {
        Some(text) => options.with_types(Arc::new(crate::given::types(text)?)),
        None => options,
    })
}

/// Adds every format of this build to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::format("line_influxdb", "InfluxDB line protocol")
        .with_aliases(&["influx", "lp", "line"])
        .with_params(LINE_INFLUXDB);
    registry.register_decoder(info, |request| {
        let options = line_options(request.params)?;
        let schemas = Arc::clone(request.schemas);
        let make: DecoderFactory = Arc::new(move || {
            let decoder = LineDecoder::new(options.clone()).with_registry(Arc::clone(&schemas));
            Ok(Box::new(decoder) as Box<dyn Decoder>)
        });
        Ok(make)
    });
    registry.register_encoder(info, |request| {
        let (precision, dialect) = (precision(request.params), dialect(request.params));
        let make: EncoderFactory = Arc::new(move || {
            Ok(Box::new(LineEncoder::new(precision).with_dialect(dialect)) as Box<dyn Encoder>)
        });
        Ok(make)
    });
    #[cfg(feature = "json")]
    crate::json::register(registry);
    crate::opentsdb::register(registry);
    #[cfg(feature = "delimited")]
    crate::delimited::register(registry);
    #[cfg(feature = "ipc")]
    registry.register_format(ConnectorInfo::format(
        "arrow",
        "Arrow IPC files and streams, by the source and the sink `file`",
    ));
    #[cfg(feature = "parquet")]
    registry.register_format(ConnectorInfo::format(
        "parquet",
        "Parquet files, by the source and the sink `file`",
    ));
}
