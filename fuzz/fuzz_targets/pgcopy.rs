//! COPY BINARY: however a stream is cut, the same rows, rejects and positions come out; and what was read is written
//! again, and read again as the same rows. The first byte of the input picks the columns, the second the size of the
//! chunks, the third the bound on rows; a header is put in front.
#![no_main]

use std::sync::Arc;

use kwsync_core::system::postgres::types::{PgKind, PgType, oid};
use kwsync_core::{Decoder, Schema, TableBatch};
use kwsync_formats::pgcopy::{CopyColumn, CopyDecoder, CopyEncoder, CopyOptions};
use kwsync_fuzz::{Output, decode};
use libfuzzer_sys::fuzz_target;

/// Sets of columns: every type alone, two kinds of arrays, and a row of several.
fn columns(which: u8) -> Vec<CopyColumn> {
    const ALONE: [u32; 21] = [
        oid::BOOL, oid::INT2, oid::INT4, oid::INT8, oid::OID, oid::FLOAT4, oid::FLOAT8, oid::NUMERIC, oid::MONEY,
        oid::TEXT, oid::JSONB, oid::BYTEA, oid::DATE, oid::TIME, oid::TIMETZ, oid::TIMESTAMP, oid::TIMESTAMPTZ,
        oid::INTERVAL, oid::UUID, oid::INET, oid::VARBIT,
    ];
    let base = |oid| PgType::base(oid, -1, "type");
    let array = |oid, item| PgType { oid, name: "array".into(), modifier: -1, kind: PgKind::Array(Box::new(item)) };
    let types = match usize::from(which) {
        alone if alone < ALONE.len() => vec![base(ALONE[alone])],
        21 => vec![array(1016, base(oid::INT8))],
        22 => vec![array(1009, base(oid::TEXT))],
        23 => vec![PgType::base(oid::NUMERIC, (38 << 16 | 7) + 4, "numeric")],
        24 => vec![array(1231, PgType::base(oid::NUMERIC, (18 << 16 | 6) + 4, "numeric"))],
        _ => vec![base(oid::INT4), base(oid::TEXT), base(oid::TIMESTAMPTZ), base(oid::NUMERIC), base(oid::BYTEA)],
    };
    types.into_iter().enumerate().map(|(at, kind)| CopyColumn::new(format!("c{at}"), kind)).collect()
}

fn read(stream: &[u8], chunk: usize, schema: &Arc<Schema>, targets: &[CopyColumn], rows: usize) -> Output {
    let mut decoder = CopyDecoder::try_new("t", schema, targets).expect("decoder").with_batch(rows, 1 << 20);
    decode(stream, chunk, &mut decoder)
}

fuzz_target!(|input: &[u8]| {
    let [which, chunk, rows, rest @ ..] = input else { return };
    let targets = columns(*which);
    let schema = Arc::new(CopyDecoder::schema_of(&targets).expect("schema"));
    let mut stream = Vec::new();
    CopyEncoder::write_header(&mut stream);
    stream.extend_from_slice(rest);
    let whole = read(&stream, stream.len(), &schema, &targets, 1 << 20);
    let cut = read(&stream, usize::from(*chunk), &schema, &targets, usize::from(*rows).max(1));
    assert_eq!(whole, cut);

    let mut decoder = CopyDecoder::try_new("t", &schema, &targets).expect("decoder");
    if decoder.decode_slice(&stream).is_err() {
        return;
    }
    let batches: Vec<TableBatch> = decoder.flush().expect("flush").batches;
    for batch in &batches {
        let mut encoder = CopyEncoder::try_new(&schema, &targets, CopyOptions::new()).expect("encoder");
        let mut again = Vec::new();
        CopyEncoder::write_header(&mut again);
        let faults = encoder.encode(batch, 0..batch.rows(), &mut again).expect("encode");
        // A text with a NUL is none of PostgreSQL's, and neither is a number beyond what it holds.
        if !faults.is_empty() {
            return;
        }
        CopyEncoder::write_trailer(&mut again);
        let back = read(&again, again.len(), &schema, &targets, 1 << 20);
        assert_eq!(back.error, None);
        assert_eq!(back.rejects, Vec::<String>::new());
        let rows: Vec<String> = (0..batch.rows()).map(|row| kwsync_fuzz::json(batch, row)).collect();
        let back: Vec<String> = back.rows.into_iter().map(|(_, _, row)| row).collect();
        assert_eq!(rows, back);
    }
});
