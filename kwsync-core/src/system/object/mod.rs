//! Object storage: Amazon S3 and what speaks like it (Alibaba Cloud OSS, MinIO and others): addresses, client, errors.
//!
//! The client is the crate object_store over reqwest, with TLS by rustls and ring. What it adds: requests that stand still
//! are given up (`oss_speed_limit`), answers of refusal keep their code, message and request id, and a read that breaks
//! off is taken up again where it was.

mod client;
mod config;
mod error;
mod http;
mod stream;
#[cfg(test)]
mod tests;

pub use client::{ObjectClient, ObjectInfo, Upload, UploadedPart};
pub use config::{Addressing, Credentials, ObjectOptions, PARAMS, Service, SpeedLimit, joined};
pub use stream::ObjectStream;
