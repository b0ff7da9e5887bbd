//! What the sources of time series that speak HTTP share: address, client, windows of time, columns, and cutting for lanes.

mod address;
mod columns;
mod http;
#[cfg(feature = "influxdb")]
mod lines;
mod pieces;
mod splitting;
#[cfg(test)]
pub(crate) mod stand_in;
mod times;
mod windows;

pub(crate) use address::{Range, http_of};
pub(crate) use columns::{Cell, Columns, FieldType, Item, free_name};
#[cfg(any(feature = "clickhouse", feature = "influxdb"))]
pub(crate) use http::encode;
pub(crate) use http::{Answer, Ask, Http, HttpOptions, kind_of};
#[cfg(feature = "influxdb")]
pub(crate) use lines::Lines;
pub(crate) use splitting::{SeriesDatabase, Splitting};
pub(crate) use times::{bounds_of, http_date};
pub(crate) use windows::Windows;

/// The code of what a server cannot answer at once; over less time it may.
pub(crate) const TOO_LARGE: &str = "query_too_large";
