//! The formats by name.

use kwsync_core::config::Registry;

/// Adds every format of this build to `registry`.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "json")]
    json(registry);
    #[cfg(feature = "parquet")]
    registry.register_format(kwsync_core::config::ConnectorInfo::format(
        "parquet",
        "Parquet files, of the source and sink `file`",
    ));
    #[cfg(not(any(feature = "json", feature = "parquet")))]
    let _ = registry;
}

#[cfg(feature = "json")]
fn json(registry: &mut Registry) {
    use std::sync::Arc;

    use kwsync_core::Encoder;
    use kwsync_core::config::{ConnectorInfo, Param};

    use crate::json::{NdjsonEncoder, NdjsonOptions, NonFinite, Nulls};

    static PARAMS: &[Param] = &[
        Param::choice("nulls", &["omit", "null"], "what becomes of nulls when JSON is written")
            .with_default("omit"),
        Param::choice(
            "non_finite",
            &["text", "null", "reject"],
            "what becomes of NaN and the infinities when JSON is written",
        )
        .with_default("text"),
        Param::text("table_key", "the key under which the table's name is written"),
    ];
    let info = ConnectorInfo::format("json", "JSON objects, one a line")
        .with_aliases(&["ndjson"])
        .with_params(PARAMS)
        .with_line_records();
    registry.register_encoder(info, |request| {
        let nulls = if request.params.choice("nulls") == Some("null") { Nulls::Write } else { Nulls::Omit };
        let non_finite = match request.params.choice("non_finite") {
            Some("null") => NonFinite::Null,
            Some("reject") => NonFinite::Reject,
            _ => NonFinite::Text,
        };
        let mut options = NdjsonOptions::new().with_nulls(nulls).with_non_finite(non_finite);
        if let Some(key) = request.params.text("table_key") {
            options = options.with_table_key(key);
        }
        Ok(Arc::new(move || Ok(Box::new(NdjsonEncoder::new(options.clone())) as Box<dyn Encoder>)))
    });
}
