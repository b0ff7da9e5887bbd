use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringDictionaryBuilder};
use arrow_array::types::{Int8Type, IntervalMonthDayNanoType};
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int64Array, IntervalMonthDayNanoArray, LargeStringArray, NullArray,
    StringArray, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use kwsync_core::{Column, DataType, Encoder, ErrorKind, Origin, Schema, TableBatch, TimeUnit, Value};
use proptest::prelude::*;

use super::{NdjsonEncoder, NdjsonOptions, NonFinite, Nulls};

fn batch(columns: Vec<(&str, DataType, ArrayRef)>) -> TableBatch {
    let rows = columns[0].2.len();
    let schema = columns.iter().map(|(name, data_type, _)| Column::new(*name, data_type.clone())).collect();
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    TableBatch::from_columns("t", Arc::new(Schema::new(schema).unwrap()), arrays, Origin::unknown(rows))
        .unwrap()
}

fn lines(batch: &TableBatch, options: NdjsonOptions) -> Vec<String> {
    let mut out = Vec::new();
    NdjsonEncoder::new(options).encode(batch, 0..batch.rows(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

fn column(data_type: DataType, array: impl arrow_array::Array + 'static) -> Vec<String> {
    let batch = batch(vec![("c", data_type, Arc::new(array))]);
    lines(&batch, NdjsonOptions::new().with_nulls(Nulls::Write))
        .iter()
        .map(|line| line.strip_prefix("{\"c\":").unwrap().strip_suffix('}').unwrap().to_owned())
        .collect()
}

#[test]
fn every_type() {
    assert_eq!(
        column(DataType::Bool, BooleanArray::from(vec![Some(true), None, Some(false)])),
        ["true", "null", "false"]
    );
    assert_eq!(
        column(DataType::Int64, Int64Array::from(vec![i64::MIN, 9_007_199_254_740_993])),
        ["-9223372036854775808", "9007199254740993"]
    );
    assert_eq!(column(DataType::UInt64, UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
    assert_eq!(
        column(DataType::Float64, Float64Array::from(vec![0.1, -0.0, 1e300, 5e-324, 1.0])),
        ["0.1", "-0.0", "1e+300", "5e-324", "1.0"]
    );
    assert_eq!(column(DataType::Float32, Float32Array::from(vec![0.1, 16_777_216.0])), ["0.1", "16777216.0"]);
    let numeric =
        Decimal128Array::from(vec![Some(-5), Some(123_456)]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(column(DataType::Numeric(Some((10, 2))), numeric), ["\"-0.05\"", "\"1234.56\""]);
    for array in [
        Arc::new(StringArray::from(vec!["a\"\\\n", "é"])) as ArrayRef,
        Arc::new(LargeStringArray::from(vec!["a\"\\\n", "é"])),
        Arc::new(StringViewArray::from(vec!["a\"\\\n", "é"])),
    ] {
        assert_eq!(column(DataType::Text, array), ["\"a\\\"\\\\\\n\"", "\"é\""]);
    }
    assert_eq!(
        column(DataType::Bytes, BinaryViewArray::from(vec![&b"\x00\xff"[..], b""])),
        ["\"\\\\x00ff\"", "\"\\\\x\""]
    );
    let uuid: Vec<u8> = (0..16).collect();
    let uuid = FixedSizeBinaryArray::try_from_iter([uuid].into_iter()).unwrap();
    assert_eq!(column(DataType::Uuid, uuid.clone()), ["\"00010203-0405-0607-0809-0a0b0c0d0e0f\""]);
    assert_eq!(column(DataType::Bytes, uuid), ["\"\\\\x000102030405060708090a0b0c0d0e0f\""]);
    assert_eq!(
        column(DataType::Date, Date32Array::from(vec![0, -1, 19_782, -719_529])),
        ["\"1970-01-01\"", "\"1969-12-31\"", "\"2024-02-29\"", "\"-0001-12-31\""]
    );
    assert_eq!(
        column(DataType::Time(TimeUnit::Microsecond), Time64MicrosecondArray::from(vec![86_399_999_999])),
        ["\"23:59:59.999999\""]
    );
    let interval =
        IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNanoType::make_value(1, 2, 3_500_000_000)]);
    assert_eq!(column(DataType::Interval, interval), ["\"P1M2DT3.5S\""]);
    assert_eq!(column(DataType::Text, NullArray::new(1)), ["null"]);
}

#[test]
fn timestamps() {
    let nanos = vec![1_700_000_000_123_456_789, -1, 0];
    assert_eq!(
        column(
            DataType::TimestampTz(TimeUnit::Nanosecond),
            TimestampNanosecondArray::from(nanos.clone()).with_timezone("UTC")
        ),
        [
            "\"2023-11-14T22:13:20.123456789Z\"",
            "\"1969-12-31T23:59:59.999999999Z\"",
            "\"1970-01-01T00:00:00.000000000Z\""
        ]
    );
    assert_eq!(
        column(DataType::Timestamp(TimeUnit::Nanosecond), TimestampNanosecondArray::from(nanos))[0],
        "\"2023-11-14T22:13:20.123456789\""
    );
    let unit = |unit, array: ArrayRef| column(DataType::Timestamp(unit), array).remove(0);
    assert_eq!(
        unit(TimeUnit::Second, Arc::new(TimestampSecondArray::from(vec![1]))),
        "\"1970-01-01T00:00:01\""
    );
    assert_eq!(
        unit(TimeUnit::Millisecond, Arc::new(TimestampMillisecondArray::from(vec![1]))),
        "\"1970-01-01T00:00:00.001\""
    );
    assert_eq!(
        unit(TimeUnit::Microsecond, Arc::new(TimestampMicrosecondArray::from(vec![1]))),
        "\"1970-01-01T00:00:00.000001\""
    );
    // The ends of the range.
    assert_eq!(
        unit(TimeUnit::Second, Arc::new(TimestampSecondArray::from(vec![i64::MIN]))),
        "\"-292277022657-01-27T08:29:52\""
    );
}

#[test]
fn dictionaries_and_lists() {
    let mut dictionary = StringDictionaryBuilder::<Int8Type>::new();
    dictionary.extend([Some("b"), None, Some("a"), Some("b")]);
    assert_eq!(column(DataType::Text, dictionary.finish()), ["\"b\"", "null", "\"a\"", "\"b\""]);
    let empty = StringDictionaryBuilder::<Int8Type>::new();
    let mut empty = empty;
    empty.append_null();
    assert_eq!(column(DataType::Text, empty.finish()), ["null"]);

    let mut list = ListBuilder::new(arrow_array::builder::Float64Builder::new());
    list.append_value([Some(1.5), None]);
    list.append_null();
    list.append_value([]);
    list.append_value([Some(f64::NAN)]);
    let list = list.finish();
    assert_eq!(
        column(DataType::Array(Box::new(DataType::Float64)), list.clone()),
        ["[1.5,null]", "null", "[]", "[\"NaN\"]"]
    );
    let slice = arrow_array::Array::slice(&list, 2, 2);
    assert_eq!(column(DataType::Array(Box::new(DataType::Float64)), slice), ["[]", "[\"NaN\"]"]);
}

#[test]
fn options() {
    let rows = batch(vec![
        ("a\"b", DataType::Int64, Arc::new(Int64Array::from(vec![None, Some(1)]))),
        ("f", DataType::Float64, Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, f64::NAN]))),
    ]);
    assert_eq!(lines(&rows, NdjsonOptions::new()), ["{\"f\":\"-Infinity\"}", "{\"a\\\"b\":1,\"f\":\"NaN\"}"]);
    assert_eq!(
        lines(
            &rows,
            NdjsonOptions::new()
                .with_nulls(Nulls::Write)
                .with_non_finite(NonFinite::Null)
                .with_table_key("table")
        ),
        ["{\"table\":\"t\",\"a\\\"b\":null,\"f\":null}", "{\"table\":\"t\",\"a\\\"b\":1,\"f\":null}"]
    );
    assert_eq!(lines(&rows.slice(1, 1), NdjsonOptions::new()), ["{\"a\\\"b\":1,\"f\":\"NaN\"}"]);
}

#[test]
fn a_row_that_cannot_be_written_leaves_nothing_behind() {
    let rows = batch(vec![("f", DataType::Float64, Arc::new(Float64Array::from(vec![1.0, f64::INFINITY])))]);
    let mut encoder = NdjsonEncoder::new(NdjsonOptions::new().with_non_finite(NonFinite::Reject));
    let mut out = b"before".to_vec();
    let error = encoder.encode(&rows, 0..2, &mut out).unwrap_err();
    assert_eq!(out, b"before");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Data, Some("non_finite")));
    let place = error.location().unwrap();
    assert_eq!((place.table(), place.column(), place.row()), (Some("t"), Some("f"), Some(1)));
    encoder.encode(&rows, 0..1, &mut out).unwrap();
    assert_eq!(out, b"before{\"f\":1.0}\n");
}

proptest! {
    /// What is written reads back as the same values, by another library.
    #[test]
    fn reads_back(
        text in any::<String>(),
        int: i64,
        unsigned: u64,
        double: f64,
        single: f32,
        name in any::<String>(),
    ) {
        let schema = Schema::new(vec![
            Column::new(name.as_str(), DataType::Text),
            Column::new(format!("{name}i"), DataType::Int64),
            Column::new(format!("{name}u"), DataType::UInt64),
            Column::new(format!("{name}d"), DataType::Float64),
            Column::new(format!("{name}s"), DataType::Float32),
        ]).unwrap();
        let row = vec![
            Value::Text(text.as_str().into()),
            Value::Int(int),
            Value::UInt(unsigned),
            Value::Float64(double),
            Value::Float32(single),
        ];
        let batch = TableBatch::from_rows("t", Arc::new(schema), &[row]).unwrap();
        let line = lines(&batch, NdjsonOptions::new()).remove(0);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(json[&name].as_str().unwrap(), text);
        prop_assert_eq!(json[format!("{name}i")].as_i64(), Some(int));
        prop_assert_eq!(json[format!("{name}u")].as_u64(), Some(unsigned));
        if double.is_finite() {
            // The library's own reader may be off by one in the last place; the text is what counts.
            let text = line.split(&format!("{}:", serde_json::to_string(&format!("{name}d")).unwrap())).nth(1).unwrap();
            let text = text.split([',', '}']).next().unwrap();
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), double.to_bits(), "{}", text);
        }
        if single.is_finite() {
            let text = line.rsplit(':').next().unwrap().trim_end_matches('}');
            prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), single.to_bits(), "{}", text);
        }
    }
}
