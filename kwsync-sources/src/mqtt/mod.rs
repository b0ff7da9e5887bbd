//! MQTT brokers.
//!
//! A message is acknowledged only when its rows are committed: QoS 1 and 2 mean to the database what they say. A broker
//! hands out only so many messages that are not acknowledged (Mosquitto: 20), so that a batch is committed as soon as no
//! more come for some milliseconds (`linger`).
//!
//! # What a fault costs
//! With `clean_session=false` and QoS 1 or 2 nothing: the broker keeps the session, and hands out again what was not
//! acknowledged, also when this program was killed. A message may then be there twice, if the fault came between the
//! commit and the acknowledgement: at least once. With `clean_session=true`, the default, what is published while nobody
//! listens is gone, and a fault of the target ends the job.
//!
//! # Versions
//! `version=3.1` is spoken as 3.1.1, which every broker of the last ten years knows; a warning says so.

mod client;
mod config;
mod source;

pub use config::{MqttOptions, MqttVersion, PARAMS, Qos, TopicFilter};
pub use source::{MqttReader, MqttSource};

use kwsync_core::Decoding;
use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `mqtt` to `registry`.
pub fn register(registry: &mut Registry) {
    let info =
        ConnectorInfo::source("mqtt", "messages of MQTT brokers, acknowledged when their rows are committed")
            .with_aliases(&["mqtts"])
            .with_params(PARAMS)
            .with_formats(|_| Some("json"));
    registry.register_source(info, |request| {
        let options = MqttOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(Decoding::new(MqttSource::new(options), request.decoder()?)))
    });
}
