//! OpenTSDB's protocols: a metric, a time, a value and tags a point.

mod config;
mod encode;
mod metric;
mod telnet;

pub(crate) use config::register;
pub use encode::TelnetEncoder;
pub use metric::{MetricNames, Names};
pub use telnet::{Point, PointError, TelnetDecoder, TelnetOptions, points};
