//! Random values of every type, encoded and decoded again, however the stream is cut.

use std::sync::Arc;

use arrow_buffer::i256;
use bytes::Bytes;
use kwsync_core::system::postgres::types::{PgKind, PgType, oid};
use kwsync_core::{DataType, Decoder, TableBatch, TimeUnit, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{CopyColumn, CopyDecoder, CopyEncoder, CopyOptions};

type Values = BoxedStrategy<Value<'static>>;

/// Every form that has a type of its own here: the target, and its values.
fn columns() -> Vec<(PgType, Values)> {
    let base = |oid| PgType::base(oid, -1, "type");
    let text = || "[^\0]{0,24}".prop_map(|text| Value::Text(text.into()));
    let micros = |value, zoned| Value::Timestamp(value, TimeUnit::Microsecond, zoned);
    let times = || -200_000_000_000_000_000..9_000_000_000_000_000_000_i64;
    let like = |pattern: &'static str| pattern.prop_map(|text| Value::Text(text.into())).boxed();
    let numeric = |precision: u32, scale: u32| {
        PgType::base(oid::NUMERIC, (precision << 16 | scale) as i32 + 4, "numeric")
    };
    let array =
        |oid, item| PgType { oid, name: "array".into(), modifier: -1, kind: PgKind::Array(Box::new(item)) };
    let or_null = |values: Values| prop_oneof![3 => values, 1 => Just(Value::Null)];
    let most = 10_i128.pow(38) - 1;
    vec![
        (base(oid::BOOL), any::<bool>().prop_map(Value::Bool).boxed()),
        (base(oid::INT2), any::<i16>().prop_map(|v| Value::Int(v.into())).boxed()),
        (base(oid::INT4), any::<i32>().prop_map(|v| Value::Int(v.into())).boxed()),
        (base(oid::INT8), any::<i64>().prop_map(Value::Int).boxed()),
        (base(oid::OID), any::<u32>().prop_map(|v| Value::UInt(v.into())).boxed()),
        (base(oid::FLOAT4), any::<f32>().prop_map(Value::Float32).boxed()),
        (base(oid::FLOAT8), any::<f64>().prop_map(Value::Float64).boxed()),
        (
            base(oid::NUMERIC),
            like("0|-?[1-9][0-9]{0,40}|-?[1-9][0-9]{0,20}[.][0-9]{1,30}|-0[.]0{0,9}[1-9]{1,9}|NaN"),
        ),
        (numeric(38, 7), (-most..=most).prop_map(|v| Value::Decimal(i256::from_i128(v), 7)).boxed()),
        (numeric(38, 0), (-most..=most).prop_map(|v| Value::Decimal(i256::from_i128(v), 0)).boxed()),
        (
            numeric(18, 6),
            (-999_999_999_999_999_999..=999_999_999_999_999_999_i128)
                .prop_map(|v| Value::Decimal(i256::from_i128(v), 6))
                .boxed(),
        ),
        (
            numeric(76, 30),
            (any::<i128>(), any::<i64>())
                .prop_map(|(a, b)| {
                    Value::Decimal(i256::from_i128(a).wrapping_mul(i256::from_i128(b.into())), 30)
                })
                .boxed(),
        ),
        (base(oid::MONEY), any::<i64>().prop_map(|v| Value::Decimal(i256::from_i128(v.into()), 2)).boxed()),
        (base(oid::TEXT), text().boxed()),
        (base(oid::JSONB), text().boxed()),
        (base(oid::BYTEA), vec(any::<u8>(), 0..40).prop_map(|v| Value::Bytes(v.into())).boxed()),
        (base(oid::DATE), (-2_000_000..2_000_000_i32).prop_map(Value::Date).boxed()),
        (
            base(oid::TIME),
            (0..=86_400_000_000_i64).prop_map(|v| Value::Time(v, TimeUnit::Microsecond)).boxed(),
        ),
        (
            base(oid::TIMETZ),
            like(
                "(0[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{0,5}[1-9])?[+](0[0-9]|1[0-5])(:[0-5][1-9])?",
            ),
        ),
        (base(oid::TIMESTAMP), times().prop_map(move |v| micros(v, false)).boxed()),
        (base(oid::TIMESTAMPTZ), times().prop_map(move |v| micros(v, true)).boxed()),
        (
            base(oid::INTERVAL),
            (any::<i32>(), any::<i32>(), any::<i64>())
                .prop_map(|(months, days, nanos)| Value::Interval(months, days, nanos / 1_000 * 1_000))
                .boxed(),
        ),
        (base(oid::UUID), vec(any::<u8>(), 16).prop_map(|v| Value::Bytes(v.into())).boxed()),
        (
            base(oid::INET),
            prop_oneof![
                any::<std::net::IpAddr>().prop_map(|v| v.to_string()),
                (any::<std::net::Ipv4Addr>(), 0..32).prop_map(|(v, mask)| format!("{v}/{mask}")),
                (any::<std::net::Ipv6Addr>(), 0..128).prop_map(|(v, mask)| format!("{v}/{mask}")),
            ]
            .prop_map(|v| Value::Text(v.into()))
            .boxed(),
        ),
        (base(oid::MACADDR), like("[0-9a-f]{2}(:[0-9a-f]{2}){5}")),
        (base(oid::MACADDR8), like("[0-9a-f]{2}(:[0-9a-f]{2}){7}")),
        (base(oid::VARBIT), like("[01]{0,20}")),
        (
            array(1016, base(oid::INT8)),
            vec(or_null(any::<i64>().prop_map(Value::Int).boxed()), 0..5).prop_map(Value::List).boxed(),
        ),
        (array(1009, base(oid::TEXT)), vec(or_null(text().boxed()), 0..5).prop_map(Value::List).boxed()),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Vec<Value<'static>>>> {
    let row: Vec<_> = columns()
        .into_iter()
        .map(|(_, values)| prop_oneof![6 => values, 1 => Just(Value::Null)].boxed())
        .collect();
    vec(row, 0..6)
}

fn decode(decoder: &mut CopyDecoder, stream: &[u8], cuts: &[usize]) -> (Vec<Vec<Value<'static>>>, String) {
    let mut rows = Vec::new();
    let mut places = String::new();
    let mut flush = |decoder: &mut CopyDecoder| {
        let decoded = decoder.flush().unwrap();
        assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
        for batch in &decoded.batches {
            for row in 0..batch.rows() {
                places.push_str(&format!("{:?}", batch.origin().position(row)));
                let columns = batch.schema().columns().iter();
                rows.push(columns.map(|c| batch.row(row).get(c.name()).unwrap().into_owned()).collect());
            }
        }
    };
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut from = 0;
    for end in ends {
        let mut chunk = Bytes::copy_from_slice(&stream[from..end]);
        while !chunk.is_empty() {
            let used = decoder.decode(&chunk).unwrap();
            bytes::Buf::advance(&mut chunk, used);
            if decoder.wants_flush() {
                flush(decoder);
            }
        }
        from = end;
    }
    decoder.finish().unwrap();
    flush(decoder);
    (rows, places)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_encoded_is_decoded(rows in rows(), cuts in vec(any::<usize>(), 0..40)) {
        let targets: Vec<_> = columns()
            .into_iter()
            .enumerate()
            .map(|(at, (pg_type, _))| CopyColumn::new(format!("c{at}"), pg_type))
            .collect();
        let schema = Arc::new(CopyDecoder::schema_of(&targets).unwrap());
        let batch = TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap();
        let mut encoder = CopyEncoder::try_new(&schema, &targets, CopyOptions::new()).unwrap();
        let mut stream = Vec::new();
        CopyEncoder::write_header(&mut stream);
        prop_assert_eq!(encoder.encode(&batch, 0..rows.len(), &mut stream).unwrap(), vec![]);
        CopyEncoder::write_trailer(&mut stream);

        let mut whole = CopyDecoder::try_new("t", &schema, &targets).unwrap();
        let (back, places) = decode(&mut whole, &stream, &[]);
        prop_assert_eq!(format!("{back:?}"), format!("{rows:?}"));
        let mut cut = CopyDecoder::try_new("t", &schema, &targets).unwrap().with_batch(2, 1 << 20);
        let (back, cut_places) = decode(&mut cut, &stream, &cuts);
        prop_assert_eq!(format!("{back:?}"), format!("{rows:?}"));
        prop_assert_eq!(cut_places, places);
        prop_assert_eq!(cut.position().byte, stream.len() as u64);
    }

    #[test]
    fn nothing_that_is_sent_breaks_the_decoder(mut bytes in vec(any::<u8>(), 0..200), rows in rows(), at in any::<usize>()) {
        let targets: Vec<_> = columns()
            .into_iter()
            .enumerate()
            .map(|(at, (pg_type, _))| CopyColumn::new(format!("c{at}"), pg_type))
            .collect();
        let schema = Arc::new(CopyDecoder::schema_of(&targets).unwrap());
        let batch = TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap();
        let mut stream = Vec::new();
        CopyEncoder::write_header(&mut stream);
        let mut encoder = CopyEncoder::try_new(&schema, &targets, CopyOptions::new()).unwrap();
        encoder.encode(&batch, 0..rows.len(), &mut stream).unwrap();
        // Good rows with something else written over them.
        let at = 19 + at % (stream.len() - 18);
        bytes.truncate(stream.len() - at);
        stream[at..at + bytes.len()].copy_from_slice(&bytes);
        let mut decoder = CopyDecoder::try_new("t", &schema, &targets).unwrap();
        drop(decoder.decode_slice(&stream));
        drop(decoder.finish());
        let decoded = decoder.flush().unwrap();
        for batch in &decoded.batches {
            prop_assert!(batch.rows() <= rows.len() + 200);
        }
    }
}

#[test]
fn what_has_no_counterpart_costs_its_own_row() {
    let target = CopyColumn::new("c", PgType::base(oid::TIMESTAMP, -1, "timestamp"));
    let schema = Arc::new(CopyDecoder::schema_of(std::slice::from_ref(&target)).unwrap());
    assert_eq!(schema.columns()[0].data_type(), &DataType::Timestamp(TimeUnit::Microsecond));
    let mut stream = Vec::new();
    CopyEncoder::write_header(&mut stream);
    for value in [0, i64::MAX, i64::MIN, 1] {
        stream.extend_from_slice(&[0, 1, 0, 0, 0, 8]);
        stream.extend_from_slice(&i64::to_be_bytes(value));
    }
    stream.extend_from_slice(&[0, 1, 0, 0, 0, 8, 1]);
    let mut decoder = CopyDecoder::try_new("t", &schema, &[target]).unwrap();
    assert_eq!(decoder.decode_slice(&stream).unwrap(), stream.len());
    decoder.finish().unwrap();
    let decoded = decoder.flush().unwrap();
    assert_eq!(decoded.batches[0].rows(), 2);
    assert_eq!(decoded.batches[0].origin().position(1).unwrap().record, 4);
    let codes: Vec<_> = decoded.rejects.iter().map(|r| (r.code.as_str(), r.position.record)).collect();
    assert_eq!(codes, [("infinite_time", 2), ("infinite_time", 3), ("truncated", 5)]);
}

/// fuzz/seeds/pgcopy/numeric_zeros: a sender that is not PostgreSQL may spell numbers as the server would not; it reads them, and so do we.
#[test]
fn numerics_of_needless_digits_read_as_the_server_reads_them() {
    let target = CopyColumn::new("c", PgType::base(oid::NUMERIC, -1, "numeric"));
    let schema = Arc::new(CopyDecoder::schema_of(std::slice::from_ref(&target)).unwrap());
    let mut stream = Vec::new();
    CopyEncoder::write_header(&mut stream);
    for (weight, sign, scale, groups) in [
        (8, 0, 0, &[0][..]),
        (2, 0x4000, 3, &[0, 0, 12, 3400]),
        (0, 0x4000, 1, &[0, 0]),
        (0, 0x4000, 1, &[0, 1]),
        (-1, 0x4000, 5, &[0, 1000]),
        (-3, 0, 2, &[]),
    ] {
        stream.extend_from_slice(&[0, 1]);
        stream.extend_from_slice(&u32::to_be_bytes(8 + 2 * groups.len() as u32));
        let count = i16::try_from(groups.len()).unwrap();
        for word in [count, weight, sign, scale].into_iter().chain(groups.iter().copied()) {
            stream.extend_from_slice(&word.to_be_bytes());
        }
    }
    CopyEncoder::write_trailer(&mut stream);
    let (rows, _) = decode(&mut CopyDecoder::try_new("t", &schema, &[target]).unwrap(), &stream, &[]);
    let texts: Vec<_> = rows.iter().map(|row| row[0].to_string()).collect();
    assert_eq!(texts, ["0", "-12.340", "0.0", "0.0", "-0.00001", "0.00"]);
}
