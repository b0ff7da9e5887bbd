//! Arrow to COPY BINARY: one timestamptz, ten tags, ten integers a row.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_core::arrow::array::cast::AsArray;
use kwsync_core::arrow::array::types::Int64Type;
use kwsync_core::arrow::array::{ArrayRef, DictionaryArray, StringArray, TimestampMicrosecondArray, types};
use kwsync_core::system::postgres::types::{PgType, oid};
use kwsync_core::{Column, DataType, Decoder, Origin, Schema, TableBatch, TimeUnit};
use kwsync_formats::influx::{LineDecoder, LineOptions};
use kwsync_formats::pgcopy::{CopyColumn, CopyEncoder, CopyOptions};

/// How the tags lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// Views into the input, as the line protocol's decoder leaves them.
    View,
    /// One run of text and offsets.
    Utf8,
    /// Dictionaries with keys of 32 bits.
    Dictionary,
}

/// The same rows for everyone.
pub struct Rows {
    batch: TableBatch,
    targets: Vec<CopyColumn>,
    peer: arrow_array_59::RecordBatch,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("rows", &self.batch.rows()).finish_non_exhaustive()
    }
}

impl Rows {
    /// Rows out of about `bytes` bytes of line protocol; no more than make one batch.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn generate(bytes: usize, tags: Tags) -> Self {
        let mut decoder = LineDecoder::new(LineOptions::default());
        let input = Bytes::from(generate(Kind::Cpu, bytes));
        let taken = decoder.decode(&input).expect("decode");
        if taken == input.len() {
            decoder.finish().expect("finish");
        }
        let decoded = decoder.flush().expect("flush").batches.remove(0);
        let mut columns = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut targets = Vec::new();
        let mut peer: Vec<(String, arrow_array_59::ArrayRef)> = Vec::new();
        let rows = decoded.rows();
        for (column, array) in decoded.schema().columns().iter().zip(decoded.batch().columns()) {
            let name = column.name();
            if let Some(views) = array.as_string_view_opt() {
                columns.push(Column::new(name, DataType::Text));
                arrays.push(match tags {
                    Tags::View => Arc::clone(array),
                    Tags::Utf8 => Arc::new(views.iter().collect::<StringArray>()),
                    Tags::Dictionary => {
                        Arc::new(views.iter().collect::<DictionaryArray<types::UInt32Type>>())
                    }
                });
                targets.push(CopyColumn::new(name, PgType::base(oid::TEXT, -1, "text")));
                // pgpq takes no dictionaries of 32-bit keys: it gets plain text then.
                peer.push((
                    name.to_owned(),
                    match tags {
                        Tags::View => Arc::new(views.iter().collect::<arrow_array_59::StringViewArray>()),
                        _ => Arc::new(views.iter().collect::<arrow_array_59::StringArray>())
                            as arrow_array_59::ArrayRef,
                    },
                ));
            } else if let Some(values) = array.as_primitive_opt::<Int64Type>() {
                columns.push(Column::new(name, DataType::Int64));
                arrays.push(Arc::clone(array));
                targets.push(CopyColumn::new(name, PgType::base(oid::INT8, -1, "bigint")));
                let theirs: arrow_array_59::Int64Array = values.iter().collect();
                peer.push((name.to_owned(), Arc::new(theirs)));
            } else {
                let values: Vec<i64> =
                    (0..rows as i64).map(|row| 1_700_000_000_000_000 + row * 1_000).collect();
                columns.push(Column::new(name, DataType::TimestampTz(TimeUnit::Microsecond)));
                arrays.push(Arc::new(TimestampMicrosecondArray::from(values.clone()).with_timezone("UTC")));
                targets.push(CopyColumn::new(name, PgType::base(oid::TIMESTAMPTZ, -1, "timestamptz")));
                let theirs = arrow_array_59::TimestampMicrosecondArray::from(values).with_timezone("UTC");
                peer.push((name.to_owned(), Arc::new(theirs)));
            }
        }
        assert_eq!(arrays.len(), 21);
        let schema = Arc::new(Schema::new(columns).expect("schema"));
        let batch = TableBatch::from_columns("cpu", schema, arrays, Origin::unknown(rows)).expect("batch");
        let peer = arrow_array_59::RecordBatch::try_from_iter(peer).expect("peer's batch");
        Self { batch, targets, peer }
    }

    /// How many.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch.rows()
    }

    /// Encodes them all as kwsync does, and returns the number of bytes.
    ///
    /// # Panics
    /// When a row is refused.
    pub fn kwsync(&self, out: &mut Vec<u8>) -> usize {
        out.clear();
        let mut encoder =
            CopyEncoder::try_new(self.batch.schema(), &self.targets, CopyOptions::new()).expect("encoder");
        CopyEncoder::write_header(out);
        let faults = encoder.encode(&self.batch, 0..self.batch.rows(), out).expect("encode");
        assert!(faults.is_empty(), "{faults:?}");
        CopyEncoder::write_trailer(out);
        out.len()
    }

    /// Encodes them all as pgpq does, and returns the number of bytes.
    ///
    /// # Panics
    /// When it fails.
    pub fn pgpq(&self, out: &mut BytesMut) -> usize {
        out.clear();
        let mut encoder = pgpq::ArrowToPostgresBinaryEncoder::try_new(&self.peer.schema()).expect("encoder");
        encoder.write_header(out).expect("header");
        encoder.write_batch(&self.peer, out).expect("batch");
        encoder.write_footer(out).expect("footer");
        out.len()
    }
}
