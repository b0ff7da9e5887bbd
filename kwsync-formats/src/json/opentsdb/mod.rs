//! OpenTSDB's points as JSON: `{"metric":"sys.cpu","timestamp":1700000000,"value":42,"tags":{"host":"a"}}`.

mod decode;
mod encode;

pub use decode::{OpentsdbJsonDecoder, OpentsdbJsonOptions};
pub use encode::OpentsdbJsonEncoder;
pub(super) use encode::times;

/// What a metric's name says of table and columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// The table is named as the metric, dots and all; its columns are `timestamp` and `value`.
    #[default]
    Verbatim,
    /// The same with `_` for every dot; its columns are `k_timestamp` and `value`.
    Underscore,
    /// Up to the last dot it is the table, behind it the column; the time is `timestamp`.
    Split,
}

/// The unit of the points' timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockUnit {
    /// Up to 32 bits are seconds, more are milliseconds, as OpenTSDB has it.
    #[default]
    Auto,
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
}
