//! Values that the target cannot hold: their codes, and that they cost their own row only.

use std::sync::Arc;

use arrow_array::types::{Int8Type, UInt32Type};
use arrow_array::{ArrayRef, DictionaryArray, LargeStringArray, StringArray, StringViewArray};
use arrow_buffer::i256;
use kwsync_core::system::postgres::types::{PgKind, PgType, oid};
use kwsync_core::{Column, DataType, Origin, Schema, TableBatch, TimeUnit, Value};

use super::super::{CopyColumn, CopyEncoder, CopyOptions, TimestampNs, TimestampZone};

fn encoder(data_type: &DataType, pg_type: PgType, options: CopyOptions) -> kwsync_core::Result<CopyEncoder> {
    let schema = Arc::new(Schema::new(vec![Column::new("c", data_type.clone())]).unwrap());
    CopyEncoder::try_new(&schema, &[CopyColumn::new("c", pg_type)], options)
}

/// The code of each value's fault; `ok` where it has none.
fn codes(
    data_type: &str,
    pg_type: &PgType,
    values: Vec<Value<'static>>,
    options: CopyOptions,
) -> Vec<&'static str> {
    let data_type: DataType = data_type.parse().unwrap();
    let schema = Arc::new(Schema::new(vec![Column::new("c", data_type.clone())]).unwrap());
    let count = values.len();
    let rows: Vec<_> = values.into_iter().map(|value| vec![value]).collect();
    let batch = TableBatch::from_rows("t", schema, &rows).unwrap();
    let mut encoder = encoder(&data_type, pg_type.clone(), options).unwrap();
    let mut out = Vec::new();
    let faults = encoder.encode(&batch, 0..count, &mut out).unwrap();
    let mut codes = vec!["ok"; count];
    for fault in &faults {
        assert!(fault.reason.starts_with("column \"c\": "), "{}", fault.reason);
        codes[fault.row] = fault.code;
    }
    // Each row that is left has its two bytes and its own field.
    let mut rest = out.as_slice();
    for _ in 0..count - faults.len() {
        assert_eq!(rest[..2], [0, 1]);
        let length = u32::from_be_bytes(rest[2..6].try_into().unwrap());
        rest = &rest[6 + if length == u32::MAX { 0 } else { length as usize }..];
    }
    assert_eq!(rest, b"");
    codes
}

fn texts(values: &[&'static str]) -> Vec<Value<'static>> {
    values.iter().map(|text| Value::Text((*text).into())).collect()
}

fn floats(values: &[f64]) -> Vec<Value<'static>> {
    values.iter().map(|value| Value::Float64(*value)).collect()
}

fn base(oid: u32) -> PgType {
    PgType::base(oid, -1, "type")
}

#[test]
fn what_does_not_fit_is_told() {
    let plain = CopyOptions::new();
    let ints = |values: &[i64]| values.iter().map(|value| Value::Int(*value)).collect::<Vec<_>>();
    let check = |data_type: &str, pg_type: PgType, values: Vec<Value<'static>>, expected: &[&str]| {
        assert_eq!(codes(data_type, &pg_type, values, plain), expected, "{data_type} into {pg_type:?}");
    };
    let (over, fraction, float) = ("integer_overflow", "not_an_integer", "float_precision");
    check("i64", base(oid::INT2), ints(&[32767, 32768, -32768, -32769]), &["ok", over, "ok", over]);
    check("i64", base(oid::INT4), ints(&[1 << 31, -(1 << 31)]), &[over, "ok"]);
    check("i64", base(oid::OID), ints(&[-1, (1 << 32) - 1, 1 << 32]), &[over, "ok", over]);
    check("u64", base(oid::INT8), vec![Value::UInt(1 << 63), Value::UInt((1 << 63) - 1)], &[over, "ok"]);
    check(
        "f64",
        base(oid::INT8),
        floats(&[1.0, 1.5, f64::NAN, f64::INFINITY, 9223372036854775808.0, -9223372036854775808.0]),
        &["ok", fraction, fraction, fraction, over, "ok"],
    );
    check(
        "f64",
        base(oid::FLOAT4),
        floats(&[0.5, 0.1, 1e300, f64::NAN, f64::INFINITY]),
        &["ok", float, float, "ok", "ok"],
    );
    check("i64", base(oid::FLOAT4), ints(&[1 << 24, (1 << 24) + 1]), &["ok", float]);
    check("i64", base(oid::FLOAT8), ints(&[1 << 53, (1 << 53) + 1, i64::MAX]), &["ok", float, float]);
    check("f64", base(oid::NUMERIC), floats(&[f64::INFINITY, 1e300]), &["numeric_infinity", "ok"]);
    let numeric = PgType::base(oid::NUMERIC, (5 << 16 | 2) + 4, "numeric(5,2)");
    check(
        "f64",
        numeric.clone(),
        floats(&[999.99, 1000.0, 0.001, 0.0]),
        &["ok", "numeric_overflow", "numeric_scale", "ok"],
    );
    check(
        "numeric",
        numeric,
        texts(&["1.230", "1.234", "x", "", ".", "1e2", "1e3", "--1"]),
        &[
            "ok",
            "numeric_scale",
            "bad_numeric",
            "bad_numeric",
            "bad_numeric",
            "ok",
            "numeric_overflow",
            "bad_numeric",
        ],
    );
    check(
        "numeric",
        base(oid::NUMERIC),
        texts(&["1e131071", "1e131072", "1e-16383", "1e-16384", "0e99999999"]),
        &["ok", "numeric_overflow", "ok", "numeric_scale", "ok"],
    );
    check(
        "numeric(20,2)",
        base(oid::INT4),
        vec![Value::Decimal(i256::from_i128(500), 2), Value::Decimal(i256::from_i128(501), 2)],
        &["ok", fraction],
    );
    check(
        "numeric(20,3)",
        base(oid::MONEY),
        vec![Value::Decimal(i256::from_i128(1230), 3), Value::Decimal(i256::from_i128(1231), 3)],
        &["ok", "numeric_scale"],
    );
    check(
        "text",
        base(oid::TEXT),
        texts(&["a\0b", "\0", "thirteen bytes and a \0", "good", "exactly 16 bytes"]),
        &["nul_in_text", "nul_in_text", "nul_in_text", "ok", "ok"],
    );
    check("jsonb", base(oid::JSONB), texts(&["\"\0\"", "1"]), &["nul_in_text", "ok"]);
    check(
        "text",
        PgType::base(oid::VARCHAR, 6, ""),
        texts(&["ab", "äö", "abc", "ab "]),
        &["ok", "ok", "text_too_long", "text_too_long"],
    );
    check("text", PgType::base(oid::BPCHAR, 6, ""), texts(&["ab ", "abc"]), &["ok", "text_too_long"]);
    check(
        "date",
        base(oid::DATE),
        vec![Value::Date(-2_440_588), Value::Date(-2_440_589), Value::Date(i32::MAX)],
        &["ok", "date_out_of_range", "date_out_of_range"],
    );
    check(
        "text",
        base(oid::DATE),
        texts(&["2023-02-29", "2024-02-29", "2024-13-01", "2024-1-1"]),
        &["bad_date", "ok", "bad_date", "bad_date"],
    );
    check(
        "text",
        base(oid::TIME),
        texts(&["24:00:00.1", "23:59:59.9999999", "12:60:00"]),
        &["bad_time", "time_precision", "bad_time"],
    );
    check(
        "text",
        base(oid::TIMETZ),
        texts(&["12:00:00", "12:00:00+16", "12:00:00+15:59:59"]),
        &["bad_timetz", "bad_timetz", "ok"],
    );
    check(
        "text",
        base(oid::TIMESTAMPTZ),
        texts(&["2024-01-01 00:00:00", "2024-01-01T00:00:00Z"]),
        &["bad_timestamp", "ok"],
    );
    check(
        "text",
        base(oid::TIMESTAMP),
        texts(&["2024-01-01", "2024-01-01T00:00:00Z"]),
        &["ok", "bad_timestamp"],
    );
    check(
        "text",
        base(oid::UUID),
        texts(&["00010203-0405-0607-0809-0a0b0c0d0e0", "0001020304050607-08090a0b0c0d0e0f0"]),
        &["bad_uuid", "bad_uuid"],
    );
    check(
        "bytes",
        base(oid::UUID),
        vec![Value::Bytes(vec![0; 15].into()), Value::Bytes(vec![0; 16].into())],
        &["bad_uuid", "ok"],
    );
    check(
        "text",
        base(oid::INET),
        texts(&["1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/", "::1/128"]),
        &["bad_inet", "bad_inet", "bad_inet", "bad_inet", "ok"],
    );
    check(
        "text",
        base(oid::CIDR),
        texts(&["10.0.0.1/8", "10.0.0.1/32", "::1/0"]),
        &["bad_cidr", "ok", "bad_cidr"],
    );
    check(
        "text",
        base(oid::MACADDR),
        texts(&["08002b010203", "0800.2b01.0203", "08:00:2b:01:02", "g8:00:2b:01:02:03"]),
        &["ok", "ok", "bad_macaddr", "bad_macaddr"],
    );
    check(
        "text",
        PgType::base(oid::BIT, 3, ""),
        texts(&["101", "10", "102"]),
        &["ok", "bit_length", "bad_bits"],
    );
    let time = |value, unit| Value::Timestamp(value, unit, true);
    check(
        "timestamptz(s)",
        base(oid::TIMESTAMPTZ),
        vec![time(i64::MAX, TimeUnit::Second), time(i64::MIN, TimeUnit::Second)],
        &["timestamp_out_of_range"; 2],
    );
    check(
        "timestamptz(us)",
        base(oid::TIMESTAMPTZ),
        vec![
            time(i64::MAX, TimeUnit::Microsecond),
            time(i64::MIN, TimeUnit::Microsecond),
            time(-210_866_803_200_000_000, TimeUnit::Microsecond),
        ],
        &["ok", "timestamp_out_of_range", "ok"],
    );
    let list = |items: &[Value<'static>]| Value::List(items.to_vec());
    let ints_of = PgType {
        oid: 1007,
        name: "integer[]".into(),
        modifier: -1,
        kind: PgKind::Array(Box::new(base(oid::INT4))),
    };
    check(
        "i64[][]",
        ints_of.clone(),
        vec![
            list(&[list(&ints(&[1])), list(&ints(&[1, 2]))]),
            list(&[list(&ints(&[1])), Value::Null]),
            list(&[list(&[])]),
            list(&[]),
            list(&[list(&ints(&[1, 2])), list(&ints(&[3, 4]))]),
        ],
        &["ragged_array", "ragged_array", "ragged_array", "ok", "ok"],
    );
    check(
        "i64[]",
        ints_of,
        vec![list(&ints(&[1, 1 << 40])), list(&[]), list(&ints(&[2])), list(&ints(&[1 << 40]))],
        &[over, "ok", "ok", over],
    );
}

#[test]
fn options_allow_what_is_lossy_and_count_it() {
    let values = || {
        vec![
            Value::Timestamp(-1, TimeUnit::Nanosecond, true),
            Value::Timestamp(1_500_000_000, TimeUnit::Nanosecond, true),
        ]
    };
    let whole_seconds = PgType::base(oid::TIMESTAMPTZ, 0, "timestamp(0) with time zone");
    let cut = CopyOptions::new().with_timestamp_ns(TimestampNs::Truncate);
    assert_eq!(
        codes("timestamptz(ns)", &base(oid::TIMESTAMPTZ), values(), CopyOptions::new()),
        ["timestamp_ns", "ok"]
    );
    assert_eq!(
        codes("timestamptz(ns)", &whole_seconds, values(), CopyOptions::new()),
        ["timestamp_ns", "timestamp_precision"]
    );
    assert_eq!(codes("timestamptz(ns)", &whole_seconds, values(), cut), ["ok", "ok"]);

    let data_type: DataType = "timestamptz(ns)".parse().unwrap();
    let schema = Arc::new(Schema::new(vec![Column::new("c", data_type.clone())]).unwrap());
    let rows: Vec<_> = values().into_iter().map(|value| vec![value]).collect();
    let batch = TableBatch::from_rows("t", schema, &rows).unwrap();
    let mut cutter = encoder(&data_type, whole_seconds, cut).unwrap();
    let mut out = Vec::new();
    assert_eq!(cutter.encode(&batch, 0..2, &mut out).unwrap(), []);
    assert_eq!(cutter.coerced(), 2);
    let micros = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().unwrap()) + 946_684_800_000_000;
    assert_eq!((micros(&out[6..14]), micros(&out[20..28])), (-1_000_000, 1_000_000));

    let naive = DataType::Timestamp(TimeUnit::Second);
    let error = encoder(&naive, base(oid::TIMESTAMPTZ), CopyOptions::new()).unwrap_err();
    assert_eq!(error.code(), Some("no_exact_cast"));
    assert!(error.hint().unwrap().contains("timestamp_zone=utc"));
    let utc = CopyOptions::new().with_timestamp_zone(TimestampZone::Utc);
    assert!(encoder(&naive, base(oid::TIMESTAMPTZ), utc).unwrap().casts()[0].lossy.is_some());
}

#[test]
fn pairs_without_an_exact_way_are_refused() {
    for (from, to) in [
        ("bool", oid::INT4),
        ("text", oid::BYTEA),
        ("i32", oid::TEXT),
        ("timestamp(s)", oid::INT4),
        ("text", 600),
        ("f64", oid::BOOL),
        ("i32", oid::DATE),
    ] {
        let error = encoder(&from.parse().unwrap(), base(to), CopyOptions::new()).unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (kwsync_core::ErrorKind::Schema, Some("no_exact_cast")),
            "{from}"
        );
        assert!(error.message().contains("\"c\"") && error.hint().is_some());
    }
    assert_eq!(encoder(&DataType::Int64, base(oid::INT8), CopyOptions::new()).unwrap().casts(), []);
    assert_eq!(encoder(&DataType::Text, base(oid::TEXT), CopyOptions::new()).unwrap().casts(), []);
}

#[test]
fn one_column_in_every_encoding_gives_the_same_bytes() {
    let words = [
        Some("a"),
        None,
        Some("twelve bytes"),
        Some("thirteen byte"),
        Some("a\0"),
        Some(""),
        Some("more than sixteen bytes"),
        Some("a"),
    ];
    // Enough rows for several blocks, and columns that begin in the middle of their arrays.
    let words: Vec<_> = words.iter().cycle().take(5000).copied().collect();
    let schema = Arc::new(Schema::new(vec![Column::new("c", DataType::Text)]).unwrap());
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from(words.clone())),
        Arc::new(StringArray::from(words.clone())),
        Arc::new(LargeStringArray::from(words.clone())),
        Arc::new(words.iter().copied().collect::<DictionaryArray<Int8Type>>()),
        Arc::new(words.iter().copied().collect::<DictionaryArray<UInt32Type>>()),
    ];
    let mut encoder = encoder(&DataType::Text, base(oid::TEXT), CopyOptions::new()).unwrap();
    let mut expected = Vec::new();
    for word in words[3..4997].iter().filter(|word| **word != Some("a\0")) {
        expected.extend_from_slice(&[0, 1]);
        match word {
            None => expected.extend_from_slice(&[0xff; 4]),
            Some(text) => {
                expected.extend_from_slice(&(text.len() as u32).to_be_bytes());
                expected.extend_from_slice(text.as_bytes());
            }
        }
    }
    for array in arrays {
        let name = array.data_type().clone();
        let batch =
            TableBatch::from_columns("t", Arc::clone(&schema), vec![array], Origin::unknown(5000)).unwrap();
        for few in [4994, 2] {
            let mut out = b"before".to_vec();
            let mut faults = Vec::new();
            for from in (3..4997).step_by(few) {
                faults.extend(encoder.encode(&batch, from..(from + few).min(4997), &mut out).unwrap());
            }
            assert!(out[6..] == expected, "{name} by {few}");
            assert!(faults.iter().all(|fault| fault.code == "nul_in_text" && fault.row % 8 == 4), "{name}");
            assert_eq!(faults.len(), (3..4997).filter(|row| row % 8 == 4).count(), "{name}");
        }
    }
}
