//! What the sources of time series that speak HTTP share: address, client, windows of time, columns, and cutting for lanes.

mod address;
mod columns;
#[cfg(feature = "influxdb")]
mod lines;
mod pieces;
mod sending;
mod splitting;
#[cfg(test)]
pub(crate) mod stand_in;
mod times;
mod windows;

pub(crate) use address::{Range, http_of};
pub(crate) use columns::{Cell, Columns, FieldType, Item, free_name};
#[cfg(any(feature = "clickhouse", feature = "influxdb"))]
pub(crate) use kwsync_core::system::http::encode;
pub(crate) use kwsync_core::system::http::{Answer, Ask, Http, HttpOptions, TOO_LARGE, kind_of};
#[cfg(feature = "influxdb")]
pub(crate) use lines::Lines;
pub(crate) use sending::Sending;
pub(crate) use splitting::{SeriesDatabase, Splitting};
pub(crate) use times::{bounds_of, http_date, moment};
pub(crate) use windows::Windows;
