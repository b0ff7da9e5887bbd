//! What a real PostgreSQL makes of our bytes, and whether it writes the same ones.

use std::sync::Arc;

use kwsync_core::system::postgres::types::{PgKind, PgType};
use kwsync_core::testkit::PgServer;
use kwsync_core::{Column, DataType, Decoder, Schema, TableBatch, Value};

use super::super::{CopyColumn, CopyDecoder, CopyEncoder, CopyOptions};

/// The type of a column as the catalog has it.
pub(super) fn pg_type(server: &PgServer, db: &str, table: &str, column: &str) -> PgType {
    let sql = format!(
        "SELECT a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), t.typtype, coalesce(e.oid, 0), \
         format_type(e.oid, a.atttypmod), coalesce(e.typtype, '-') FROM pg_attribute a \
         JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' \
         WHERE a.attrelid = '{table}'::regclass AND a.attname = '{column}'"
    );
    let line = server.psql(db, &sql);
    let parts: Vec<&str> = line.trim_end().split('|').collect();
    let kind = |typtype: &str| match typtype {
        "e" => PgKind::Enum,
        "b" => PgKind::Base,
        _ => PgKind::Other,
    };
    let modifier = parts[1].parse().unwrap();
    let kind = match parts[4] {
        "0" => kind(parts[3]),
        item => PgKind::Array(Box::new(PgType {
            oid: item.parse().unwrap(),
            name: parts[5].to_owned(),
            modifier,
            kind: kind(parts[6]),
        })),
    };
    PgType { oid: parts[0].parse().unwrap(), name: parts[2].to_owned(), modifier, kind }
}

fn text(texts: &[&'static str]) -> Vec<Value<'static>> {
    texts.iter().map(|text| Value::Text((*text).into())).collect()
}

/// Types of which one value has several texts.
fn lenient(sql: &str) -> bool {
    matches!(sql, "numeric" | "timetz" | "jsonb" | "cidr")
}

#[test]
fn the_server_reads_our_bytes_and_writes_the_same() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s fine')");
    let numbers = "0|1|-1|0.1|-0.0001|9999|10000|10000.0001|123456789.987654321|0.00000001|1e50|-12345678901234567890123456789012345678901234567890.5|NaN|1.500|1e-20|100000000000000000000";
    let numbers: Vec<Value<'static>> = text(&numbers.split('|').collect::<Vec<_>>());
    let list = |items: &[Value<'static>]| Value::List(items.to_vec());
    let cases: Vec<(&str, &str, Vec<Value<'static>>, &str)> = vec![
        ("boolean", "bool", vec![Value::Bool(true), Value::Bool(false)], "true|false"),
        ("smallint", "i16", vec![Value::Int(-32768), Value::Int(32767)], "-32768|32767"),
        ("integer", "i64", vec![Value::Int(-2147483648), Value::Int(5)], "-2147483648|5"),
        ("bigint", "u64", vec![Value::UInt(9223372036854775807)], "9223372036854775807"),
        ("oid", "u32", vec![Value::UInt(4294967295)], "4294967295"),
        (
            "real",
            "f32",
            vec![Value::Float32(1.5), Value::Float32(f32::NAN), Value::Float32(f32::NEG_INFINITY)],
            "1.5|NaN|-Infinity",
        ),
        ("real", "i32", vec![Value::Int(16777216)], "1.6777216e+07"),
        ("double precision", "f64", vec![Value::Float64(0.1), Value::Float64(-0.0)], "0.1|-0"),
        ("double precision", "f32", vec![Value::Float32(0.1)], "0.10000000149011612"),
        (
            "numeric",
            "numeric",
            numbers,
            "0|1|-1|0.1|-0.0001|9999|10000|10000.0001|123456789.987654321|0.00000001|100000000000000000000000000000000000000000000000000|-12345678901234567890123456789012345678901234567890.5|NaN|1.500|0.00000000000000000001|100000000000000000000",
        ),
        (
            "numeric",
            "f64",
            vec![
                Value::Float64(0.1),
                Value::Float64(1e22),
                Value::Float64(5e-324f64.max(1e-7)),
                Value::Float64(f64::NAN),
                Value::Float64(f64::INFINITY),
                Value::Float64(f64::NEG_INFINITY),
            ],
            "0.1|10000000000000000000000|0.0000001|NaN|Infinity|-Infinity",
        ),
        ("numeric", "f32", vec![Value::Float32(0.1)], "0.1"),
        (
            "numeric",
            "u64",
            vec![Value::UInt(u64::MAX), Value::UInt(0), Value::UInt(10_000), Value::UInt(100_000_000)],
            "18446744073709551615|0|10000|100000000",
        ),
        (
            "numeric(10,2)",
            "numeric(10,2)",
            vec![
                Value::Decimal(arrow_buffer::i256::from_i128(-12345), 2),
                Value::Decimal(arrow_buffer::i256::from_i128(5), 2),
                Value::Decimal(arrow_buffer::i256::from_i128(0), 2),
            ],
            "-123.45|0.05|0.00",
        ),
        (
            "numeric",
            "numeric(38,7)",
            vec![
                Value::Decimal(arrow_buffer::i256::from_i128(99999999999999999999999999999999999999), 7),
                Value::Decimal(arrow_buffer::i256::from_i128(-1), 7),
                Value::Decimal(arrow_buffer::i256::from_i128(10_000_000), 7),
            ],
            "9999999999999999999999999999999.9999999|-0.0000001|1.0000000",
        ),
        (
            "numeric",
            "numeric(76,30)",
            vec![Value::Decimal(arrow_buffer::i256::MAX, 30)],
            "57896044618658097711785492504343953926634992332.820282019728792003956564819967",
        ),
        ("money", "money", vec![Value::Decimal(arrow_buffer::i256::from_i128(-12345), 2)], "-$123.45"),
        (
            "text",
            "text",
            text(&["", "a", "twelve bytes", "thirteen byte", "ünïcödé is longer than that"]),
            "|a|twelve bytes|thirteen byte|ünïcödé is longer than that",
        ),
        ("varchar(3)", "text", text(&["äöü", ""]), "äöü|"),
        ("char(3)", "text", text(&["äöü", "abc"]), "äöü|abc"),
        ("name", "text", text(&["x"]), "x"),
        ("json", "json", text(&["{\"a\": [1]}"]), "{\"a\": [1]}"),
        ("jsonb", "jsonb", text(&["{\"a\": 1}", "[]"]), "{\"a\": 1}|[]"),
        ("mood", "other:mood", text(&["sad", "it's fine"]), "sad|it's fine"),
        (
            "bytea",
            "bytes",
            vec![Value::Bytes(vec![0, 255].into()), Value::Bytes(vec![].into())],
            "\\x00ff|\\x",
        ),
        (
            "date",
            "date",
            vec![Value::Date(0), Value::Date(-2_440_588), Value::Date(10957)],
            "1970-01-01|4714-11-24 BC|2000-01-01",
        ),
        ("date", "text", text(&["2024-02-29", "1969-12-31"]), "2024-02-29|1969-12-31"),
        (
            "time",
            "time(us)",
            vec![
                Value::Time(1, kwsync_core::TimeUnit::Microsecond),
                Value::Time(86_400_000_000, kwsync_core::TimeUnit::Microsecond),
            ],
            "00:00:00.000001|24:00:00",
        ),
        ("time", "text", text(&["12:30:00.5", "24:00:00"]), "12:30:00.5|24:00:00"),
        (
            "timetz",
            "timetz",
            text(&["12:30:00+02", "00:00:01.25-03:30", "12:00:00Z"]),
            "12:30:00+02|00:00:01.25-03:30|12:00:00+00",
        ),
        (
            "timestamp",
            "timestamp(ns)",
            vec![Value::Timestamp(1_000, kwsync_core::TimeUnit::Nanosecond, false)],
            "1970-01-01 00:00:00.000001",
        ),
        ("timestamp", "date", vec![Value::Date(1)], "1970-01-02 00:00:00"),
        (
            "timestamptz",
            "timestamptz(s)",
            vec![
                Value::Timestamp(1_700_000_000, kwsync_core::TimeUnit::Second, true),
                Value::Timestamp(-1, kwsync_core::TimeUnit::Second, true),
            ],
            "2023-11-14 22:13:20+00|1969-12-31 23:59:59+00",
        ),
        (
            "timestamptz",
            "text",
            text(&["2024-01-31T10:00:00+02:00", "2024-01-31 10:00:00.123456Z"]),
            "2024-01-31 08:00:00+00|2024-01-31 10:00:00.123456+00",
        ),
        (
            "bigint",
            "timestamptz(ns)",
            vec![Value::Timestamp(1_700_000_000_000_000_001, kwsync_core::TimeUnit::Nanosecond, true)],
            "1700000000000000001",
        ),
        (
            "interval",
            "interval",
            vec![Value::Interval(14, -3, 1_500_000_000)],
            "1 year 2 mons -3 days +00:00:01.5",
        ),
        (
            "uuid",
            "uuid",
            vec![Value::Bytes((0..16).collect::<Vec<u8>>().into())],
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
        ),
        (
            "uuid",
            "text",
            text(&["{00010203-0405-0607-0809-0A0B0C0D0E0F}"]),
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
        ),
        (
            "inet",
            "inet",
            text(&["10.1.2.3", "10.1.2.3/8", "2001:db8::1/64", "::ffff:1.2.3.4"]),
            "10.1.2.3/32|10.1.2.3/8|2001:db8::1/64|::ffff:1.2.3.4/128",
        ),
        (
            "cidr",
            "cidr",
            text(&["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "1.2.3.4"]),
            "10.0.0.0/8|0.0.0.0/0|2001:db8::/32|1.2.3.4/32",
        ),
        ("macaddr", "macaddr", text(&["08:00:2b:01:02:03"]), "08:00:2b:01:02:03"),
        ("macaddr8", "macaddr8", text(&["08:00:2b:01:02:03:04:05"]), "08:00:2b:01:02:03:04:05"),
        ("bit(10)", "bit(10)", text(&["1010101011"]), "1010101011"),
        ("varbit", "varbit", text(&["", "1"]), "|1"),
        (
            "integer[]",
            "i32[]",
            vec![list(&[Value::Int(1), Value::Null, Value::Int(-3)]), list(&[])],
            "{1,NULL,-3}|{}",
        ),
        (
            "integer[]",
            "i32[][]",
            vec![list(&[list(&[Value::Int(1), Value::Int(2)]), list(&[Value::Int(3), Value::Int(4)])])],
            "{{1,2},{3,4}}",
        ),
        ("text[]", "text[]", vec![list(&text(&["a b", "", "NULL"]))], "{\"a b\",\"\",\"NULL\"}"),
        (
            "numeric(10,2)[]",
            "numeric(10,2)[]",
            vec![list(&[Value::Decimal(arrow_buffer::i256::from_i128(150), 2)])],
            "{1.50}",
        ),
        ("mood[]", "text[]", vec![list(&text(&["sad", "ok"]))], "{sad,ok}"),
        (
            "timestamptz[]",
            "timestamptz(ms)[]",
            vec![list(&[Value::Timestamp(1, kwsync_core::TimeUnit::Millisecond, true)])],
            "{\"1970-01-01 00:00:00.001+00\"}",
        ),
    ];
    let mut wrong = Vec::new();
    for (number, (sql, data_type, values, expected)) in cases.into_iter().enumerate() {
        let table = format!("t{number}");
        server.psql(&db, &format!("CREATE TABLE {table} (c {sql})"));
        let data_type: DataType = data_type.parse().unwrap();
        let schema = Arc::new(Schema::new(vec![Column::new("c", data_type.clone())]).unwrap());
        let mut rows: Vec<Vec<Value<'_>>> = values.into_iter().map(|value| vec![value]).collect();
        rows.push(vec![Value::Null]);
        let batch = TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap();
        let target = CopyColumn::new("c", pg_type(server, &db, &table, "c"));
        let options = CopyOptions::new().with_numeric_infinity(true);
        let mut encoder = CopyEncoder::try_new(&schema, &[target], options).unwrap();
        let mut ours = Vec::new();
        CopyEncoder::write_header(&mut ours);
        assert_eq!(encoder.encode(&batch, 0..batch.rows(), &mut ours).unwrap(), [], "{data_type} into {sql}");
        CopyEncoder::write_trailer(&mut ours);
        if let Err(error) = server.try_psql(&db, &format!("COPY {table} FROM STDIN (FORMAT binary)"), &ours) {
            wrong.push(format!("{data_type} into {sql}: {error}"));
            continue;
        }
        let shown = server.psql(&db, &format!("SELECT coalesce(c::text, '<null>') FROM {table}"));
        let expected = format!("{}\n<null>\n", expected.replace('|', "\n"));
        if shown != expected {
            wrong.push(format!("{data_type} into {sql}: {shown:?}, not {expected:?}"));
        }
        let theirs = server.try_psql(&db, &format!("COPY {table} TO STDOUT (FORMAT binary)"), b"").unwrap();
        let target = CopyColumn::new("c", pg_type(server, &db, &table, "c"));
        let own = target.pg_type.data_type();
        let nested = matches!(&data_type, DataType::Array(item) if matches!(**item, DataType::Array(_)));
        // What is of the column's own type comes back as it went.
        if own == data_type || nested {
            let mut decoder = CopyDecoder::try_new("t", &schema, &[target]).unwrap();
            decoder.decode_slice(&theirs).unwrap();
            decoder.finish().unwrap();
            let decoded = decoder.flush().unwrap();
            let back: Vec<Vec<Value<'_>>> = (0..decoded.batches.first().map_or(0, TableBatch::rows))
                .map(|row| vec![decoded.batches[0].row(row).get("c").unwrap()])
                .collect();
            if format!("{back:?}") != format!("{rows:?}") && !lenient(sql) {
                wrong.push(format!("{sql} back: {back:?}, not {rows:?}; {:?}", decoded.rejects));
            }
        }
        if ours != theirs {
            wrong.push(format!("{data_type} into {sql}: we {ours:x?}, the server {theirs:x?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
