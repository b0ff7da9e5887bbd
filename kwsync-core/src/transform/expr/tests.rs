use std::sync::Arc;

use arrow_array::Array;
use proptest::prelude::*;

use super::*;
use crate::{Column, Input, Metadata, Origin, Position, RecordRef, Schema, Segment, TimeUnit, Value};

/// Four rows of every kind of column.
fn batch() -> TableBatch {
    let columns = vec![
        Column::new("i", DataType::Int64),
        Column::new("small", DataType::Int8),
        Column::new("u", DataType::UInt64),
        Column::new("f", DataType::Float64),
        Column::new("d", DataType::Numeric(Some((10, 2)))),
        Column::new("wide", DataType::Numeric(None)),
        Column::new("s", DataType::Text),
        Column::new("b", DataType::Bool),
        Column::new("t", DataType::TimestampTz(TimeUnit::Millisecond)),
        Column::new("with blank", DataType::VarChar(Some(10))),
    ];
    let text = |text: &'static str| Value::Text(text.into());
    let decimal = |value: i128| Value::Decimal(arrow_buffer::i256::from_i128(value), 2);
    let time = |ms: i64| Value::Timestamp(ms, TimeUnit::Millisecond, true);
    let rows = [
        vec![
            Value::Int(1),
            Value::Int(100),
            Value::UInt(u64::MAX),
            Value::Float64(0.5),
            decimal(150),
            text("12.5"),
            text("web1"),
            Value::Bool(true),
            time(1_700_000_000_000),
            text("x"),
        ],
        vec![
            Value::Int(0),
            Value::Int(-7),
            Value::UInt(0),
            Value::Float64(-2.5),
            decimal(-10),
            text("1"),
            text("Größe_9"),
            Value::Bool(false),
            time(0),
            text("y"),
        ],
        vec![Value::Null; 10],
        vec![
            Value::Int(i64::MAX),
            Value::Int(7),
            Value::UInt(5),
            Value::Float64(f64::NAN),
            decimal(0),
            text("0"),
            text(""),
            Value::Bool(true),
            time(1),
            text("z"),
        ],
    ];
    let batch = TableBatch::from_rows("cpu", Arc::new(Schema::new(columns).unwrap()), &rows).unwrap();
    let message = Metadata::new()
        .with_topic("cars")
        .with_partition(3)
        .with_offset(17)
        .with_key("k")
        .with_timestamp(5)
        .with_header("trace", Some("xyz".into()))
        .with_header("trace", Some("abc".into()));
    let segment = Segment {
        input: Arc::new(Input::new("metrics.lp").with_message(Arc::new(message))),
        bytes: None,
        base: Position { byte: 100, line: 11, column: 1, record: 10 },
    };
    let at = |n: u32| RecordRef { segment: 0, start: n * 10, len: 9, line: n, record: n };
    let (table, schema, batch, _) = batch.into_parts();
    TableBatch::new(table, schema, batch, Origin::new([segment], (0..4).map(at).collect())).unwrap()
}

/// Each row's value as text; `!` where it is refused.
fn shown(text: &str) -> String {
    let expression: Expression = match text.parse() {
        Ok(expression) => expression,
        Err(error) => return format!("error: {}", error.message()),
    };
    let made = match expression.evaluate(&batch()) {
        Ok(made) => made,
        Err(error) => return format!("error: {}", error.message()),
    };
    assert!(made.data_type.is_stored_as(made.array.data_type()), "{text}: {:?}", made.data_type);
    let values: Vec<String> = (0..made.array.len())
        .map(|row| {
            if made.faults.iter().any(|(fault, _)| *fault == row) {
                return "!".to_owned();
            }
            match Value::of(made.array.as_ref(), row).unwrap() {
                Value::Null => "-".to_owned(),
                value => value.to_string(),
            }
        })
        .collect();
    format!("{} {}", made.data_type, values.join("|"))
}

#[test]
fn to_the_letter() {
    for (text, expected) in [
        ("i", "i64 1|0|-|9223372036854775807"),
        ("\"with blank\"", "varchar(10) x|y|-|z"),
        ("i > 0", "bool true|false|-|true"),
        ("i > 0 AND b", "bool true|false|-|true"),
        ("i = 0 OR NULL", "bool -|true|-|-"),
        ("NOT b", "bool false|true|-|false"),
        ("i IS NULL", "bool false|false|true|false"),
        ("i IS NOT NULL", "bool true|true|false|true"),
        ("b IS TRUE", "bool true|false|false|true"),
        ("b IS NOT TRUE", "bool false|true|true|false"),
        ("i IS DISTINCT FROM 1", "bool false|true|true|true"),
        ("absent = 1", "bool -|-|-|-"),
        ("absent", "text -|-|-|-"),
        ("absent IS NULL", "bool true|true|true|true"),
        ("i IN (0, 1)", "bool true|true|-|false"),
        ("i NOT IN (0, 1)", "bool false|false|-|true"),
        ("i BETWEEN 0 AND 1", "bool true|true|-|false"),
        ("u > 5", "bool true|false|-|false"),
        ("u = i", "bool false|true|-|false"),
        ("u > -1", "bool true|true|-|true"),
        ("f > i", "bool false|false|-|true"),
        ("d = 1.5", "bool true|false|-|false"),
        ("d > 0", "bool true|false|-|false"),
        ("wide > 1", "bool true|false|-|false"),
        ("wide", "numeric 12.5|1|-|0"),
        ("s = 'web1'", "bool true|false|-|false"),
        ("s LIKE 'web%'", "bool true|false|-|false"),
        ("s NOT LIKE 'web%'", "bool false|true|-|true"),
        ("s ILIKE 'WEB_'", "bool true|false|-|false"),
        ("s ~ '[0-9]$'", "bool true|true|-|false"),
        ("s ~* 'WEB'", "bool true|false|-|false"),
        ("s !~ '[0-9]$'", "bool false|false|-|true"),
        ("t >= '2023-11-14T00:00:00Z'", "bool true|false|-|false"),
        ("t < TIMESTAMP WITH TIME ZONE '1970-01-02'", "bool false|true|-|true"),
        ("EXTRACT(year FROM t)", "i32 2023|1970|-|1970"),
        ("i + 1", "i64 2|1|-|!"),
        ("i - 1 = 0", "bool true|false|-|false"),
        ("-i", "i64 -1|0|-|-9223372036854775807"),
        ("1 / i", "i64 1|!|-|0"),
        ("CASE WHEN i <> 0 THEN 10 / i ELSE -1 END", "i64 10|-1|-1|0"),
        ("CASE i WHEN 1 THEN 'one' WHEN 0 THEN s END", "text one|Größe_9|-|-"),
        ("i <> 0 AND 1 / i > 0", "bool true|false|-|false"),
        ("i = 0 OR 1 / i > 0", "bool true|true|-|false"),
        ("small * 100", "i64 10000|-700|-|700"),
        ("i % 2", "i64 1|0|-|1"),
        ("f * 2", "f64 1|-5|-|NaN"),
        ("d * 2", "numeric(12,2) 3.00|-0.20|-|0.00"),
        ("d * 0.5", "numeric(13,3) 0.750|-0.050|-|0.000"),
        ("d + small", "numeric(23,2) 101.50|-7.10|-|7.00"),
        ("d + f", "f64 2|-2.6|-|NaN"),
        ("s || '!' || i", "text web1!1|Größe_9!0|-|!9223372036854775807"),
        ("concat(s, '-', absent)", "text web1-|Größe_9-|-|-"),
        ("upper(s)", "text WEB1|GRÖSSE_9|-|"),
        ("length(s)", "i64 4|7|-|0"),
        ("substr(s, 2, 2)", "text eb|rö|-|"),
        ("substring(s from 3)", "text b1|öße_9|-|"),
        ("left(s, 3)", "text web|Grö|-|"),
        ("left(s, -1)", "text web|Größe_|-|"),
        ("right(s, 2)", "text b1|_9|-|"),
        ("split_part(s, '_', 2)", "text |9|-|"),
        ("split_part(s, '_', -1)", "text web1|9|-|"),
        ("replace(s, 'e', '')", "text wb1|Größ_9|-|"),
        ("trim('  x ')", "text x|x|x|x"),
        ("starts_with(s, 'w')", "bool true|false|-|false"),
        ("coalesce(i, -1)", "i64 1|0|-1|9223372036854775807"),
        ("coalesce(absent, s, 'none')", "text web1|Größe_9|none|"),
        ("coalesce(d, 0)", "numeric(10,2) 1.50|-0.10|0.00|0.00"),
        ("coalesce(d, 0.125)", "numeric(11,3) 1.500|-0.100|0.125|0.000"),
        ("CASE WHEN b THEN d ELSE 0.5 END", "numeric(10,2) 1.50|0.50|0.50|0.00"),
        ("coalesce(wide, 0.50)", "numeric 12.5|1|0.50|0"),
        ("coalesce(t, '1970-01-01T00:00:01Z') > '1970-01-01T00:00:00.5Z'", "bool true|false|true|false"),
        ("nullif(wide, 0)", "numeric 12.5|1|-|-"),
        ("f - 0.5 = 0", "bool true|false|-|false"),
        ("-(f - 0.5) = 0", "bool true|false|-|false"),
        ("nullif(-(f - 0.5), 0)", "f64 -|3|-|NaN"),
        ("(d * 1.8)::int", "i32 3|0|-|0"),
        ("u / 2", "numeric(20,0) 9223372036854775807|0|-|2"),
        ("round(d, 1)", "numeric(10,1) 1.5|-0.1|-|0.0"),
        ("round(d)", "numeric(10,0) 2|0|-|0"),
        ("round(1250, -2)", "i64 1300|1300|1300|1300"),
        ("round(f, NULL)", "text -|-|-|-"),
        ("nullif(i, 0)", "i64 1|-|-|9223372036854775807"),
        ("abs(small)", "i64 100|7|-|7"),
        ("abs(d)", "numeric(10,2) 1.50|0.10|-|0.00"),
        ("round(f)", "f64 0|-2|-|NaN"),
        ("round(0.125, 2)", "f64 0.13|0.13|0.13|0.13"),
        ("floor(f)", "f64 0|-3|-|NaN"),
        ("ceil(f)", "f64 1|-2|-|NaN"),
        ("CAST(i AS text)", "text 1|0|-|9223372036854775807"),
        ("i::smallint", "i16 1|0|-|!"),
        ("(f + 0.2)::int", "i32 1|-2|-|!"),
        ("CAST(right(s, 1) AS integer)", "i32 1|9|-|!"),
        ("CAST(i AS varchar(20))", "varchar(20) 1|0|-|9223372036854775807"),
        ("table_name()", "text cpu|cpu|cpu|cpu"),
        ("schema_name()", "text -|-|-|-"),
        ("input_name()", "text metrics.lp|metrics.lp|metrics.lp|metrics.lp"),
        ("topic()", "text cars|cars|cars|cars"),
        ("partition()", "i32 3|3|3|3"),
        ("message_offset() + 1", "i64 18|18|18|18"),
        ("message_key()", "text k|k|k|k"),
        ("message_header('trace')", "text abc|abc|abc|abc"),
        ("message_header('none')", "text -|-|-|-"),
        ("message_time() < now()", "bool true|true|true|true"),
        ("line_number()", "i64 11|12|13|14"),
        ("byte_offset()", "i64 100|110|120|130"),
        ("record_number()", "i64 10|11|12|13"),
        ("CASE WHEN b THEN line_number() / i END", "i64 11|-|-|0"),
        ("now() > t", "bool true|true|-|true"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn mistakes_are_named() {
    for (text, expected) in [
        ("i >", "Expected: an expression, found: EOF"),
        ("i > 0 b", "b at column 7 is one word too many"),
        ("i = 'x", "Unterminated string literal"),
        ("cpu.i > 0", "write \"cpu.i\""),
        ("lowr(s)", "there is no function `lowr`, did you mean `lower`?"),
        ("left(s)", "left takes 2 arguments, not 1"),
        ("round(f, 1, 2)", "round takes 1 to 2 arguments, not 3"),
        ("s ~ '('", "is no regular expression"),
        ("s ~ s", "takes a text in quotes"),
        ("i::intt", "\"intt\" is no column type"),
        ("i > (SELECT 1)", "cannot be part of an expression here"),
        ("sum(i)", "there is no function `sum`"),
        ("EXTRACT(epoch FROM t)", "EXTRACT knows no EPOCH"),
        ("s > 1", "text and i64 do not go together"),
        ("s AND b", "text is neither true nor false"),
        ("upper(i)", "i64 stands where text belongs"),
        ("left(s, s)", "text stands where a whole number belongs"),
        ("abs(s)", "text stands where a number belongs"),
        ("t + t", "is no number"),
        ("t > 'yesterday'", "yesterday"),
        ("i = 'x'", "'x'"),
        ("round(f, i)", "one number of digits"),
    ] {
        let shown = shown(text);
        assert!(shown.starts_with("error:") && shown.contains(expected), "{text}: {shown}");
    }
    for (text, expected) in [
        (format!("{}1{}", "(".repeat(500), ")".repeat(500)), "recursion limit"),
        (["1"; 1_000].join(" + "), "more than 100 steps"),
        (["i = 1"; 5_000].join(" OR "), "is too long"),
    ] {
        let shown = shown(&text);
        assert!(shown.starts_with("error:") && shown.contains(expected), "{shown}");
    }
    assert_eq!(shown(&["i = 1"; 400].join(" OR ")), "bool true|false|-|false");
    let many: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    assert_eq!(shown(&format!("i IN ({})", many.join(", "))), "bool true|true|-|false");
}

#[test]
fn only_the_rows_at_fault_are() {
    let schema = Arc::new(Schema::new(vec![Column::new("i", DataType::Int64)]).unwrap());
    let rows: Vec<_> = (0..10_000).map(|n| vec![Value::Int(n % 1_000)]).collect();
    let batch = TableBatch::from_rows("t", schema, &rows).unwrap();
    let made = "100 / i".parse::<Expression>().unwrap().evaluate(&batch).unwrap();
    let faults: Vec<usize> = made.faults.iter().map(|(row, _)| *row).collect();
    assert_eq!(faults, (0..10).map(|n| n * 1_000).collect::<Vec<_>>());
    assert_eq!(made.array.len(), 10_000);
    assert_eq!(made.array.null_count(), 10);
}

proptest! {
    /// Whatever is typed, there is an answer.
    #[test]
    fn no_text_breaks_it(words in prop::collection::vec(prop::sample::select(vec![
        "i", "f", "s", "b", "d", "u", "t", "absent", "1", "0", "-1", "1.5", "'x'", "'2023-01-01'", "NULL", "TRUE",
        "+", "-", "*", "/", "%", "||", "=", "<>", "<", "AND", "OR", "NOT", "IS", "IN", "(", ")", ",", "LIKE", "~",
        "CASE", "WHEN", "THEN", "ELSE", "END", "BETWEEN", "coalesce(", "nullif(", "substr(", "abs(", "::int", "::text",
    ]), 1..12)) {
        let text = words.join(" ");
        if let Ok(expression) = text.parse::<Expression>() && let Ok(made) = expression.evaluate(&batch()) {
            prop_assert_eq!(made.array.len(), 4, "{}", text);
            for (row, _) in &made.faults {
                prop_assert!(made.array.is_null(*row));
            }
        }
    }

    /// One row at a time gives what all together give.
    #[test]
    fn batches_do_not_matter(text in prop::sample::select(vec![
        "i + small", "10 / i", "CASE WHEN i <> 0 THEN 10 / i END", "coalesce(i, 100 / small)", "s || i", "i > 0 AND 7 / i > 0",
    ]), from in 0usize..4, len in 1usize..4) {
        let expression: Expression = text.parse().unwrap();
        let batch = batch();
        let len = len.min(4 - from);
        let whole = expression.evaluate(&batch).unwrap();
        let part = expression.evaluate(&batch.slice(from, len)).unwrap();
        for row in 0..len {
            let (a, b) = (Value::of(whole.array.as_ref(), from + row), Value::of(part.array.as_ref(), row));
            prop_assert_eq!(format!("{:?}", a), format!("{:?}", b), "{}", text);
        }
    }
}
