use std::sync::Arc;

use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, StringArray, types::UInt32Type};
use arrow_buffer::i256;
use bytes::Bytes;

use super::*;
use crate::Position;

/// One of every type, with and without bounds.
pub(crate) fn all_types() -> Vec<DataType> {
    use DataType as T;
    let mut types = vec![
        T::Bool,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float32,
        T::Float64,
        T::Numeric(None),
        T::Numeric(Some((10, 2))),
        T::Numeric(Some((50, 7))),
        T::Numeric(Some((5, -2))),
        T::Numeric(Some((3, 5))),
        T::Numeric(Some((1000, 500))),
        T::Money,
        T::Char(1),
        T::Char(5),
        T::VarChar(None),
        T::VarChar(Some(20)),
        T::NChar(3),
        T::NVarChar(None),
        T::NVarChar(Some(9)),
        T::Text,
        T::Bytes,
        T::VarBytes(None),
        T::VarBytes(Some(254)),
        T::Date,
        T::TimeTz,
        T::Interval,
        T::Json,
        T::Jsonb,
        T::Uuid,
        T::Inet,
        T::Cidr,
        T::MacAddr,
        T::MacAddr8,
        T::Bit(3),
        T::VarBit(None),
        T::VarBit(Some(8)),
        T::Xml,
        T::Geometry,
        T::Other("mood".into()),
    ];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.extend([T::Time(unit), T::Timestamp(unit), T::TimestampTz(unit)]);
    }
    let arrays: Vec<_> = types.iter().map(|item| T::Array(Box::new(item.clone()))).collect();
    types.push(T::Array(Box::new(T::Array(Box::new(T::Int32)))));
    types.extend(arrays);
    types
}

#[test]
fn every_type_goes_to_arrow_and_back() {
    for (index, data_type) in all_types().into_iter().enumerate() {
        let role = [Role::Timestamp, Role::Field, Role::Tag, Role::PrimaryTag][index % 4];
        let column =
            Column::new("c", data_type).with_role(role).with_nullable(index % 2 == 0).with_comment("why");
        assert_eq!(Column::from_field(&column.to_field()).unwrap(), column);
    }
}

#[test]
fn every_type_goes_to_text_and_back() {
    for data_type in all_types() {
        assert_eq!(data_type.to_string().parse::<DataType>().unwrap(), data_type, "{data_type}");
    }
    for wrong in ["", "int(", "varchar(x)", "varchar(0)", "bool(1)", "numeric(a,b)", "timestamp(7)", "foo"] {
        assert!(wrong.parse::<DataType>().is_err(), "{wrong}");
    }
}

#[test]
fn metadata_that_contradicts_the_field_is_refused() {
    let field =
        Column::new("c", DataType::VarChar(Some(3))).to_field().with_data_type(arrow_schema::DataType::Int32);
    assert!(Column::from_field(&field).is_err());
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let columns = vec![Column::new("a", DataType::Bool), Column::new("a", DataType::Text)];
    assert!(Schema::new(columns).is_err());
}

#[test]
fn values_of_every_kind_come_back_from_a_batch() {
    let rows: Vec<(DataType, Value<'_>, &str)> = vec![
        (DataType::Bool, Value::Bool(true), "true"),
        (DataType::Int8, Value::Int(-128), "-128"),
        (DataType::UInt64, Value::UInt(u64::MAX), "18446744073709551615"),
        (DataType::Float32, Value::Float32(0.1), "0.1"),
        (DataType::Float64, Value::Float64(1e21), "1000000000000000000000"),
        (DataType::Numeric(Some((10, 2))), Value::Decimal(i256::from(-5), 2), "-0.05"),
        (DataType::Numeric(Some((50, 3))), Value::Decimal(i256::from(12345), 3), "12.345"),
        (DataType::VarChar(Some(9)), Value::Text("héllo".into()), "héllo"),
        (DataType::Bytes, Value::Bytes(vec![0, 255].into()), "\\x00ff"),
        (DataType::Uuid, Value::Bytes(vec![7; 16].into()), "\\x07070707070707070707070707070707"),
        (DataType::Date, Value::Date(-1), "1969-12-31"),
        (DataType::Time(TimeUnit::Nanosecond), Value::Time(1, TimeUnit::Nanosecond), "00:00:00.000000001"),
        (DataType::Time(TimeUnit::Second), Value::Time(86_399, TimeUnit::Second), "23:59:59"),
        (
            DataType::TimestampTz(TimeUnit::Nanosecond),
            Value::Timestamp(-1, TimeUnit::Nanosecond, true),
            "1969-12-31T23:59:59.999999999Z",
        ),
        (
            DataType::Timestamp(TimeUnit::Millisecond),
            Value::Timestamp(951_782_400_000, TimeUnit::Millisecond, false),
            "2000-02-29T00:00:00.000",
        ),
        (DataType::Interval, Value::Interval(1, -2, 3), "1 mons -2 days 3 ns"),
        (
            DataType::Array(Box::new(DataType::Int32)),
            Value::List(vec![Value::Int(1), Value::Null]),
            "{1,null}",
        ),
    ];
    let columns: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(index, (data_type, ..))| Column::new(format!("c{index}"), data_type.clone()))
        .collect();
    let schema = Arc::new(Schema::new(columns).unwrap());
    let values: Vec<_> = rows.iter().map(|(_, value, _)| value.clone()).collect();
    let nulls = vec![Value::Null; values.len()];
    let batch = TableBatch::from_rows("t", schema, &[values, nulls]).unwrap();
    for (index, (data_type, value, text)) in rows.iter().enumerate() {
        let got = batch.row(0).at(index).unwrap();
        assert_eq!(&got, value, "{data_type}");
        assert_eq!(&got.to_string(), text, "{data_type}");
        assert!(batch.row(1).at(index).unwrap().is_null());
    }
}

#[test]
fn a_value_that_does_not_fit_names_row_and_column() {
    let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int8)]).unwrap());
    let error =
        TableBatch::from_rows("t", schema, &[vec![Value::Int(1)], vec![Value::Int(300)]]).unwrap_err();
    assert_eq!(error.to_string(), "300 does not fit into a column of Int8 (table t, column n, row 1)");
}

#[test]
fn any_encoding_of_text_is_taken() {
    let schema = Arc::new(Schema::new(vec![Column::new("s", DataType::Text)]).unwrap());
    let dictionary: DictionaryArray<UInt32Type> = ["a", "b", "a"].into_iter().collect();
    let arrays: [ArrayRef; 2] = [Arc::new(dictionary), Arc::new(StringArray::from(vec!["a", "b", "a"]))];
    for array in arrays {
        let batch =
            TableBatch::from_columns("t", Arc::clone(&schema), vec![array], Origin::unknown(3)).unwrap();
        assert_eq!(batch.row(2).get("s").unwrap(), Value::Text("a".into()));
        assert_eq!(batch.schema(), &schema);
    }
}

#[test]
fn a_batch_that_contradicts_its_schema_is_refused() {
    let schema = Arc::new(Schema::new(vec![Column::new("s", DataType::Int64)]).unwrap());
    let other =
        RecordBatch::try_from_iter([("s", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]).unwrap();
    assert!(TableBatch::new("t", Arc::clone(&schema), other.clone(), Origin::unknown(1)).is_err());
    let text = Arc::new(Schema::new(vec![Column::new("s", DataType::Text)]).unwrap());
    assert!(TableBatch::new("t", Arc::clone(&text), other.clone(), Origin::unknown(2)).is_err());
    assert!(TableBatch::new("t", text, other, Origin::unknown(1)).is_ok());
}

fn three_lines(before: u64) -> Origin {
    let bytes = Bytes::from_static(b"one\ntwo\nthree\n");
    let input = Arc::new(Input::new("f").with_line_counter(move || before));
    let base = Position { byte: 100, line: 1, column: 1, record: 10 };
    let refs = [(0, 3), (4, 3), (8, 5)]
        .iter()
        .enumerate()
        .map(|(index, (start, len))| RecordRef {
            segment: 0,
            start: *start,
            len: *len,
            line: index as u32,
            record: index as u32,
        })
        .collect();
    Origin::new(vec![Segment { input, bytes: Some(bytes), base }], refs)
}

#[test]
fn origins_survive_take_slice_concat_and_compaction() {
    let origin = three_lines(7);
    let want = Position { byte: 108, line: 10, column: 1, record: 12 };
    assert_eq!(origin.position(2), Some(want));
    let joined = Origin::concat([&origin.take([2, 0]), &Origin::unknown(1), &origin.slice(1, 2)]);
    assert_eq!(joined.len(), 5);
    assert_eq!(joined.raw(0), Some(&b"three"[..]));
    assert_eq!(joined.position(2), None);
    assert_eq!(joined.raw(4), Some(&b"three"[..]));
    assert_eq!(joined.position(4), Some(want));

    let bytes = Bytes::from(vec![b'x'; 10_000]);
    let big = Segment { input: Arc::new(Input::new("f")), bytes: Some(bytes), base: Position::START };
    let one = Origin::new(vec![big], vec![RecordRef { start: 500, len: 8, line: 3, ..RecordRef::default() }]);
    let small = one.compact();
    assert_eq!(small.raw(0), one.raw(0));
    assert_eq!(small.position(0), one.position(0));
    assert!(small.segments()[0].bytes.as_ref().unwrap().len() < 100);
}

#[test]
fn shared_buffers_count_once() {
    let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)]).unwrap());
    let rows: Vec<_> = (0..1000).map(|n| vec![Value::Int(n)]).collect();
    let batch = TableBatch::from_rows("t", schema, &rows).unwrap();
    let whole = batch.retained_bytes();
    assert!((8_000..10_000).contains(&whole), "{whole}");
    let two = Arc::new(
        Schema::new(vec![Column::new("a", DataType::Int64), Column::new("b", DataType::Int64)]).unwrap(),
    );
    let column = Arc::clone(batch.batch().column(0));
    let twice =
        TableBatch::from_columns("t", two, vec![Arc::clone(&column), column], Origin::unknown(1000)).unwrap();
    assert_eq!(twice.retained_bytes(), whole);
}
