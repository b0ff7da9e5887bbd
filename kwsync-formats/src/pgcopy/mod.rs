//! PostgreSQL's COPY BINARY: batches into it, and out of it.
//!
//! # What goes into what
//!
//! Every way is exact. A value that the target cannot hold is a fault of its row with a stable code; a pair of types
//! without an exact way is an error when the encoder is made.
//!
//! | column of the target | takes | codes |
//! |---|---|---|
//! | boolean | `bool` | |
//! | smallint, integer, bigint, oid | integers, floats without a fraction, decimals without a fraction; bigint also timestamps, as the count of their own unit | `integer_overflow`, `not_an_integer` |
//! | real, double precision | floats, integers, each when exact | `float_precision` |
//! | numeric | integers, decimals, floats (the shortest decimal that reads back the same), text | `bad_numeric`, `numeric_overflow`, `numeric_scale`, `numeric_infinity` |
//! | money | integers, decimals, text | as numeric |
//! | text, varchar, char, name, json, jsonb, xml, enums | text of any kind | `nul_in_text`, `text_too_long` |
//! | bytea | bytes | |
//! | date | `date`, text | `bad_date`, `date_out_of_range` |
//! | time | `time`, text | `bad_time`, `time_out_of_range`, `time_precision` |
//! | timetz | text | `bad_timetz`, `time_precision` |
//! | timestamp, timestamptz | timestamps of any unit, with or without zone as the column; text; timestamp also `date` | `bad_timestamp`, `timestamp_out_of_range`, `timestamp_ns`, `timestamp_precision` |
//! | interval | `interval` | `interval_precision` |
//! | uuid | 16 bytes, text | `bad_uuid` |
//! | inet, cidr, macaddr, macaddr8 | text | `bad_inet`, `bad_cidr`, `bad_macaddr` |
//! | bit, varbit | text of `0` and `1` | `bad_bits`, `bit_length` |
//! | T\[\] | lists of what T takes; lists of lists when all are of one length | `ragged_array` |
//!
//! Any value above a gigabyte is `value_too_large`.

mod calendar;
mod decode;
mod encode;
mod fault;
mod form;
mod from_text;
mod numeric;
mod options;
mod parse;
#[cfg(test)]
mod tests;

pub use decode::CopyDecoder;
pub use encode::CopyEncoder;
pub use fault::RowFault;
pub use from_text::TextValues;
pub use options::{CopyColumn, CopyOptions, TimestampNs, TimestampZone};

/// What a COPY BINARY stream begins with: signature, flags, length of the header's extension.
pub(crate) const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with: -1 for the number of columns.
pub(crate) const TRAILER: [u8; 2] = [0xff, 0xff];
/// The longest value that a server takes.
pub(crate) const MAX_VALUE: usize = 0x3fff_ffff;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Days from 1970-01-01 to 2000-01-01.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
/// The timestamps that PostgreSQL has, in microseconds from 2000-01-01: 4714-11-24 BC to 294276 AD.
pub(crate) const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
/// The dates that PostgreSQL has, in days from 2000-01-01: 4714-11-24 BC to 5874897 AD.
pub(crate) const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
