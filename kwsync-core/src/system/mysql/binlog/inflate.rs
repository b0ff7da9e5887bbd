//! Parts of events that MariaDB has compressed (`log_bin_compress`).

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::bytes::{Bytes, broken};
use crate::Result;

/// The most that a packet of a server can be.
const MOST: u64 = 1 << 30;

/// What was compressed: a byte that tells how and how long the length is, the length, and a stream of zlib.
pub(super) fn inflate(compressed: &[u8]) -> Result<Vec<u8>> {
    let cannot = || broken("a compressed event");
    let mut rest = Bytes(compressed);
    let head = rest.u8().ok_or_else(cannot)?;
    // Its only way is 0, zlib.
    if head & 0xf8 != 0x80 {
        return Err(cannot());
    }
    let length = rest.big(usize::from(head & 0x07)).ok_or_else(cannot)?;
    if length > MOST {
        return Err(cannot());
    }
    // By what comes of it, not by what its head promises.
    let mut made = Vec::new();
    ZlibDecoder::new(rest.0)
        .take(length + 1)
        .read_to_end(&mut made)
        .map_err(|error| cannot().with_source(error))?;
    match made.len() as u64 == length {
        true => Ok(made),
        false => Err(cannot()),
    }
}
