//! Values into columns of given types.

use std::sync::Arc;

use kwsync_core::{Column, DataType, Origin, Schema, TableId, TimeUnit, Value};

use super::cast::{Cell, Kind, Str};
use super::{Chunk, Rule, Tables, Target};

fn tables(data_type: &str, text: bool) -> (Tables, u32) {
    let mut tables = Tables::new(Arc::default());
    let column = Column::new("c", data_type.parse().unwrap());
    let schema = Arc::new(Schema::new(vec![column]).unwrap());
    tables.set_target(TableId::new("t"), Target { schema, closed: true, unit: TimeUnit::Millisecond, text });
    let table = tables.open(&TableId::new("t")).unwrap();
    (tables, table)
}

fn push(tables: &mut Tables, table: u32, kind: Kind, text: &str) -> Result<(), &'static str> {
    let chunk = Chunk { bytes: text.as_bytes(), shared: None, id: 1 };
    let rows = tables.get_mut(table).unwrap();
    let done = rows.push(0, chunk, Cell::new(kind, Str::Here(0, text.len())));
    if done.is_err() {
        rows.abandon();
    } else {
        rows.commit(kwsync_core::RecordRef::default());
    }
    done.map_err(|misfit| misfit.code)
}

fn values(tables: &mut Tables) -> Vec<Value<'static>> {
    let batch = tables.flush(&Arc::from([]), 0).unwrap().remove(0);
    assert_eq!(batch.rows(), Origin::unknown(batch.rows()).len());
    (0..batch.rows()).map(|i| batch.row(i).get("c").unwrap().into_owned()).collect()
}

#[test]
fn casts() {
    use Kind::{Bool, Float, Huge, Int, Text, UInt};
    let stamp = |value, unit| Value::Timestamp(value, unit, true);
    let cases: &[(&str, Kind, &str, Result<Value<'static>, &str>)] = &[
        ("i8", Int(127), "127", Ok(Value::Int(127))),
        ("i8", Int(128), "128", Err("integer_overflow")),
        ("u8", Int(-1), "-1", Err("integer_overflow")),
        ("u64", UInt(u64::MAX), "18446744073709551615", Ok(Value::UInt(u64::MAX))),
        ("i64", Float(2.0), "2.0", Ok(Value::Int(2))),
        ("i64", Float(2.5), "2.5", Err("inexact")),
        ("i64", Text, "42", Ok(Value::Int(42))),
        ("i64", Text, "+42", Err("type_conflict")),
        ("i64", Bool(true), "true", Err("type_conflict")),
        ("f64", Int(1 << 53), "9007199254740992", Ok(Value::Float64(9_007_199_254_740_992.0))),
        ("f64", Int((1 << 53) + 1), "9007199254740993", Err("inexact")),
        ("f64", Huge, "100000000000000000000", Ok(Value::Float64(1e20))),
        ("f32", Float(6.14545), "6.14545", Ok(Value::Float32(6.14545))),
        ("f32", Float(1e39), "1e39", Err("inexact")),
        ("f64", Text, "NaN", Err("type_conflict")),
        ("numeric(5,2)", Float(1.25), "1.25", Ok(Value::Decimal(125.into(), 2))),
        ("numeric(5,2)", Float(1.255), "1.255", Err("bad_decimal")),
        ("numeric(5,2)", Int(1000), "1000", Err("bad_decimal")),
        ("numeric(5,2)", Float(1e2), "1e2", Ok(Value::Decimal(10_000.into(), 2))),
        ("timestamptz(us)", Int(1_500), "1500", Ok(stamp(1_500_000, TimeUnit::Microsecond))),
        ("timestamptz(s)", Int(1_500), "1500", Err("timestamp_overflow")),
        ("timestamptz(ms)", Text, "1970-01-01 00:00:01.5+00:00", Ok(stamp(1_500, TimeUnit::Millisecond))),
        ("timestamptz(s)", Text, "1970-01-01 00:00:01.5Z", Err("timestamp_precision")),
        ("date", Text, "1970-01-02", Ok(Value::Date(1))),
        ("time(ms)", Text, "00:00:01", Ok(Value::Time(1000, TimeUnit::Millisecond))),
        ("varchar(3)", Text, "äöü", Ok(Value::Text("äöü".into()))),
        ("varchar(3)", Text, "abcd", Err("too_long")),
        ("varbytes(3)", Text, "\\x313233", Ok(Value::Bytes(b"123"[..].into()))),
        ("varbytes(3)", Text, "\\x3132333", Err("bad_hex")),
        ("bytes", Text, "ab", Ok(Value::Bytes(b"ab"[..].into()))),
        ("uuid", Text, "00010203-0405-0607-0809-0a0b0c0d0e0f", {
            let bytes: Vec<u8> = (0..16).collect();
            Ok(Value::Bytes(bytes.into()))
        }),
        ("uuid", Text, "0001", Err("bad_uuid")),
        ("text", Int(7), "007", Ok(Value::Text("007".into()))),
        ("bool", Text, "true", Ok(Value::Bool(true))),
        ("bool", Int(1), "1", Err("type_conflict")),
    ];
    for (data_type, kind, text, expected) in cases {
        let (mut tables, table) = tables(data_type, true);
        match (push(&mut tables, table, *kind, text), expected) {
            (Ok(()), Ok(value)) => assert_eq!(&values(&mut tables)[0], value, "{text} as {data_type}"),
            (Err(code), Err(expected)) => assert_eq!(code, *expected, "{text} as {data_type}"),
            (got, expected) => panic!("{text} as {data_type}: {got:?}, not {expected:?}"),
        }
    }
    // Declared by a format whose numbers are none when they stand as text.
    let (mut tables, table) = tables("i64", false);
    assert_eq!(push(&mut tables, table, Text, "42"), Err("type_conflict"));
}

#[test]
fn integers_become_floats_where_that_is_exact() {
    for (first, widens) in [(1i64, true), (1 << 53, true), ((1 << 53) + 1, false)] {
        for flushed in [false, true] {
            let mut tables = Tables::new(Arc::default());
            let table = tables.open(&TableId::new("t")).unwrap();
            let column = tables.add(table, Column::new("c", DataType::Int64), Rule::Infer).unwrap();
            assert_eq!(column, 0);
            push(&mut tables, table, Kind::Int(first), "1").unwrap();
            if flushed {
                values(&mut tables);
            }
            let done = push(&mut tables, table, Kind::Float(0.5), "0.5");
            assert_eq!(done, if widens { Ok(()) } else { Err("type_conflict") });
            if widens {
                assert_eq!(values(&mut tables).pop(), Some(Value::Float64(0.5)));
                assert_eq!(
                    push(&mut tables, table, Kind::Int((1 << 53) + 1), "9007199254740993"),
                    Err("inexact")
                );
                push(&mut tables, table, Kind::Int(3), "3").unwrap();
                assert_eq!(values(&mut tables), [Value::Float64(3.0)]);
            }
        }
    }
}

#[test]
fn a_row_taken_back_leaves_nothing() {
    let (mut tables, table) = tables("i64", true);
    push(&mut tables, table, Kind::Int(1), "1").unwrap();
    tables.get_mut(table).unwrap().push_null(0).unwrap();
    tables.get_mut(table).unwrap().abandon();
    push(&mut tables, table, Kind::Null, "null").unwrap();
    push(&mut tables, table, Kind::Int(2), "2").unwrap();
    push(&mut tables, table, Kind::Text, "x").unwrap_err();
    push(&mut tables, table, Kind::Int(3), "3").unwrap();
    assert_eq!(values(&mut tables), [Value::Int(1), Value::Null, Value::Int(2), Value::Int(3)]);
}
