//! What the sources of time series that speak HTTP share: the client, windows of time, and cutting for lanes.

mod http;
mod lines;
mod pieces;
mod times;
mod windows;

pub(crate) use http::{Answer, Ask, Http, HttpOptions, encode};
pub(crate) use lines::Lines;
pub(crate) use pieces::bounds;
pub(crate) use times::{bounds_of, http_date, moment};
pub(crate) use windows::Windows;
