//! The parameters of the format `line_opentsdb`.

use std::sync::Arc;

use kwsync_core::config::{ConnectorInfo, EncoderFactory, Param, Params, Registry};
use kwsync_core::{Decoder, DecoderFactory, Encoder, TimeUnit};

use super::{MetricNames, TelnetDecoder, TelnetEncoder, TelnetOptions};
use crate::Limits;
use crate::influx::Precision;

static TELNET: &[Param] = &[
    Param::choice(
        "metric",
        &["verbatim", "underscore", "split"],
        "what a metric tb.c1 is: the table tb.c1, the table tb_c1, or the table tb with a column c1",
    )
    .with_default("verbatim"),
    Param::choice(
        "precision",
        &["auto", "s", "ms", "us", "ns"],
        "the unit of the times; auto takes what fits 32 bits for seconds, else milliseconds; written, auto is ms",
    )
    .with_default("auto"),
    Param::text("time_column", "the time column; default timestamp, with metric=underscore k_timestamp"),
    Param::choice("value", &["typed", "float"], "whether integers stay integers until a float comes")
        .with_default("typed"),
    Param::flag("put", "whether written lines begin with put").with_default("true"),
    Param::size("max_line_bytes", "the longest line that is read; a longer one is a reject")
        .with_default("64MiB"),
];

fn precision(params: &Params) -> Precision {
    params.choice("precision").and_then(|text| text.parse().ok()).unwrap_or(Precision::Auto)
}

fn options(params: &Params) -> TelnetOptions {
    let metric = params.choice("metric").and_then(|text| text.parse().ok()).unwrap_or(MetricNames::Verbatim);
    let limit = params.size("max_line_bytes").and_then(|bytes| usize::try_from(bytes).ok());
    let limits = limit.map_or_else(Limits::new, |bytes| Limits::new().with_max_record_bytes(bytes));
    let options = TelnetOptions::new()
        .with_metric(metric)
        .with_precision(precision(params))
        .with_floats(params.choice("value") == Some("float"))
        .with_limits(limits);
    match params.text("time_column") {
        Some(name) => options.with_time_column(name),
        None => options,
    }
}

pub(crate) fn register(registry: &mut Registry) {
    let info = ConnectorInfo::format("line_opentsdb", "OpenTSDB's telnet protocol (put)")
        .with_aliases(&["telnet"])
        .with_params(TELNET)
        .with_line_records();
    registry.register_decoder(info, |request| {
        let (options, schemas) = (options(request.params), Arc::clone(request.schemas));
        let make: DecoderFactory = Arc::new(move || {
            let decoder = TelnetDecoder::new(options.clone()).with_registry(Arc::clone(&schemas));
            Ok(Box::new(decoder) as Box<dyn Decoder>)
        });
        Ok(make)
    });
    registry.register_encoder(info, |request| {
        let precision = precision(request.params);
        let encoder = move || match precision {
            Precision::S => TelnetEncoder::new(TimeUnit::Second),
            Precision::Us => TelnetEncoder::new(TimeUnit::Microsecond),
            Precision::Ns => TelnetEncoder::new(TimeUnit::Nanosecond),
            Precision::Ms => TelnetEncoder::new(TimeUnit::Millisecond),
            Precision::Auto => TelnetEncoder::by_size(),
        };
        let put = request.params.flag("put");
        let make: EncoderFactory =
            Arc::new(move || Ok(Box::new(encoder().with_put(put)) as Box<dyn Encoder>));
        Ok(make)
    });
}
