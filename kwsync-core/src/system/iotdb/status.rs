//! What the server's status codes mean.

use super::Status;
use crate::{Error, ErrorKind, Location, Retry};

/// The error of a status that is none of success. Its code is `iotdb_` and the server's number.
pub fn error_of(status: &Status, what: &str) -> Error {
    let (kind, hint) = classified(status);
    let text = status.message.split(['\n', '\r']).next().unwrap_or_default().trim();
    let text = match text.is_empty() {
        true => format!("{what}: IoTDB answers with status {} and no message", status.code),
        false => format!("{what}: {text}"),
    };
    let error = Error::new(kind, text).with_code(format!("iotdb_{}", status.code));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn classified(status: &Status) -> (ErrorKind, Option<&'static str>) {
    match status.code {
        800 | 801 | 804 => (ErrorKind::Auth, Some("check user and password; a new server has root and root")),
        802 => (ErrorKind::Unavailable, None),
        803 | 811 | 817 => (
            ErrorKind::Permission,
            Some("GRANT the user what it needs: WRITE_DATA and WRITE_SCHEMA to write, READ_DATA to read"),
        ),
        201 => (
            ErrorKind::Unsupported,
            Some("the client protocol is version 3, which servers from 1.0 on speak"),
        ),
        500 | 508 | 550 => (ErrorKind::NotFound, None),
        507 | 509 | 529 | 530 | 608 | 609 | 614 | 701 => (ErrorKind::Schema, None),
        600 => (
            ErrorKind::Unavailable,
            Some(
                "the server only reads now, often because its disk is full; once mended, SET SYSTEM TO RUNNING lets it write",
            ),
        ),
        611 | 525 | 526 => (ErrorKind::DiskFull, None),
        606 | 709 | 717 | 719 => (ErrorKind::Unavailable, None),
        712 | 720 => (ErrorKind::Timeout, None),
        // Going up or down, or without the nodes that have the data.
        203 | 204 | 306 | 602 | 900..=910 | 1000..=1010 | 128 | 129 => (ErrorKind::Unavailable, None),
        700 => (ErrorKind::Internal, None),
        300 => (ErrorKind::Unsupported, None),
        _ => (ErrorKind::Server, None),
    }
}

/// What went wrong with bytes that the server sent.
pub(super) fn protocol(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, what.into())
        .with_hint("is this the RPC port of IoTDB (dn_rpc_port, usually 6667)?")
}

/// The error of a connection that was lost.
pub(super) fn lost(place: &str, error: std::io::Error) -> Error {
    let error = Error::io(format!("the connection to IoTDB at {place} was lost"), error);
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout => error,
        _ => error.with_retry(Retry::Backoff),
    }
}

/// A place in an error: the device, and the measurement where there is one.
pub fn place_of(device: &str, measurement: Option<&str>) -> Location {
    let place = Location::new().with_table(device);
    match measurement {
        Some(measurement) => place.with_column(measurement),
        None => place,
    }
}
