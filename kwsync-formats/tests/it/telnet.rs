//! OpenTSDB's telnet protocol: against a slow reference, under any cutting, and there and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use kwsync_core::{
    Column, DataType, Decoder, Encoder, ErrorKind, Position, Role, Schema, TableBatch, TimeUnit, Value,
};
use kwsync_formats::Limits;
use kwsync_formats::influx::Precision;
use kwsync_formats::opentsdb::{MetricNames, TelnetDecoder, TelnetEncoder, TelnetOptions, points};
use proptest::prelude::*;

#[derive(Debug, PartialEq, Default)]
struct Output {
    tables: BTreeMap<String, Vec<(Position, Vec<u8>, BTreeMap<String, Value<'static>>)>>,
    rejects: Vec<(Position, String, Bytes, Option<u32>)>,
    end: Position,
}

fn decode(input: &[u8], cuts: &[usize], options: TelnetOptions, slices: bool) -> Output {
    let (mut decoder, mut output) = (TelnetDecoder::new(options), Output::default());
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(input.len())).collect();
    cuts.push(input.len());
    cuts.sort_unstable();
    let mut at = 0;
    for cut in cuts {
        let mut chunk = Bytes::copy_from_slice(&input[at..cut]);
        at = cut;
        while !chunk.is_empty() {
            let used = if slices { decoder.decode_slice(&chunk) } else { decoder.decode(&chunk) }.unwrap();
            assert!(used == chunk.len() || decoder.wants_flush());
            chunk.advance(used);
            if decoder.wants_flush() {
                flush(&mut decoder, &mut output);
            }
        }
    }
    decoder.finish().unwrap();
    flush(&mut decoder, &mut output);
    output.end = decoder.position();
    output
}

fn flush(decoder: &mut TelnetDecoder, output: &mut Output) {
    let decoded = decoder.flush().unwrap();
    for batch in decoded.batches {
        let rows = output.tables.entry(batch.table().name().to_owned()).or_default();
        for row in 0..batch.rows() {
            let values = batch.schema().columns().iter().map(|column| {
                (column.name().to_owned(), batch.row(row).get(column.name()).unwrap().into_owned())
            });
            let values = values.filter(|(_, value)| !value.is_null()).collect();
            let raw = batch.origin().raw(row).unwrap().to_vec();
            rows.push((batch.origin().position(row).unwrap(), raw, values));
        }
    }
    output.rejects.extend(decoded.rejects.into_iter().map(|r| (r.position, r.code, r.raw, r.at)));
}

/// What `input` means, the slow way; floats for all values. Lines that are refused, by number.
fn reference(input: &[u8]) -> (BTreeMap<String, Vec<BTreeMap<String, Value<'static>>>>, Vec<u64>) {
    let (mut tables, mut refused) = (BTreeMap::<String, Vec<_>>::new(), Vec::new());
    for (line, number) in input.split(|byte| *byte == b'\n').zip(1..) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(|byte| *byte == b' ') {
            continue;
        }
        match std::str::from_utf8(line).ok().and_then(point) {
            Some((metric, row)) => tables.entry(metric).or_default().push(row),
            None => refused.push(number),
        }
    }
    (tables, refused)
}

fn is_time(word: &str) -> bool {
    let (whole, part) = word.split_once('.').unwrap_or((word, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && whole.parse::<i64>().is_ok() && digits(part) && part.len() <= 3
}

fn point(line: &str) -> Option<(String, BTreeMap<String, Value<'static>>)> {
    if line.chars().any(|letter| letter.is_ascii_control()) {
        return None;
    }
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let mut metric = words.next()?;
    if metric == "put" {
        metric = words.next()?;
    } else if metric == "version" && words.clone().next().is_none_or(|word| !is_time(word)) {
        return None;
    }
    if metric.contains('=') {
        return None;
    }
    let time = words.next()?;
    let (whole, part) = time.split_once('.').map_or((time, None), |(whole, part)| (whole, Some(part)));
    if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let time = match part {
        Some(part)
            if part.len() <= 3 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            whole.checked_mul(1000)?.checked_add(format!("{part:0<3}").parse().ok()?)?
        }
        Some(_) => return None,
        None if whole <= i64::from(u32::MAX) => whole * 1000,
        None if whole < 10_000_000_000_000 => whole,
        None => return None,
    };
    let value = words.next()?;
    let digits = value.strip_prefix('-').unwrap_or(value);
    let value = if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
        let value: i64 = value.parse().ok()?;
        if value.unsigned_abs() > 1 << 53 && (value as f64) as i128 != i128::from(value) {
            return None;
        }
        value as f64
    } else {
        let plain = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let letters = digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        let some =
            digits.split(['e', 'E']).next().is_some_and(|m| m.bytes().any(|byte| byte.is_ascii_digit()));
        if !plain || !letters || !some {
            return None;
        }
        value.parse().ok().filter(|value: &f64| value.is_finite())?
    };
    let mut row = BTreeMap::new();
    for tag in words {
        let (key, value) = tag.split_once('=')?;
        if key.is_empty() || value.is_empty() || value.contains('=') || key == "value" || key == "timestamp" {
            return None;
        }
        let value = Value::Text(value.to_owned().into());
        if row.insert(key.to_owned(), value.clone()).is_some_and(|other| other != value) {
            return None;
        }
    }
    row.insert("timestamp".to_owned(), Value::Timestamp(time, TimeUnit::Millisecond, true));
    row.insert("value".to_owned(), Value::Float64(value));
    Some((metric.to_owned(), row))
}

fn line() -> impl Strategy<Value = String> {
    let metric =
        prop_oneof![6 => "(cpu|mem)\\.[ab]", 1 => "[a-c=,\\\\é]{1,4}", 1 => Just("version".to_owned())];
    let time = prop_oneof![
        6 => (1_600_000_000i64..1_800_000_000).prop_map(|t| t.to_string()),
        3 => (1_600_000_000_000i64..1_800_000_000_000).prop_map(|t| t.to_string()),
        1 => "[0-9]{1,15}", 1 => "[0-9]{1,10}\\.[0-9]{1,4}", 1 => "-?[0-9a]{0,3}",
    ];
    let value = prop_oneof![
        4 => any::<i32>().prop_map(|v| v.to_string()), 1 => any::<i64>().prop_map(|v| v.to_string()),
        3 => (-1000i32..1000, 0u32..1000).prop_map(|(a, b)| format!("{a}.{b}")),
        1 => any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:e}")),
        1 => "-?[0-9.]{0,4}[ei]?[0-9]{0,2}",
    ];
    let tag = prop_oneof![6 => "(host|dc)=[a-c]{1,3}", 2 => "[a-c]{1,3}=[a-c]{10,20}", 1 => "[a-c=,\\\\]{0,5}", 1 => Just("value=1".to_owned())];
    let end = prop_oneof![8 => Just("\n"), 1 => Just("\r\n"), 1 => Just(" \n"), 1 => Just("\n\n"), 1 => Just("\t\n")];
    let gap = prop_oneof![9 => Just(" "), 1 => Just("  ")];
    (any::<bool>(), metric, time, value, prop::collection::vec(tag, 0..4), gap, end).prop_map(
        |(put, metric, time, value, tags, gap, end)| {
            let mut words = vec![metric, time, value];
            words.extend(tags);
            format!("{}{}{end}", if put { "put " } else { "" }, words.join(gap))
        },
    )
}

fn floats() -> TelnetOptions {
    TelnetOptions::new().with_floats(true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_the_reference(
        lines in prop::collection::vec(line(), 0..30),
        soup in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        size in 1usize..10,
    ) {
        let mut input = lines.concat().into_bytes();
        let middle = input.len() / 2;
        input.splice(middle..middle, soup);
        let whole = decode(&input, &[], floats(), false);
        let (tables, refused) = reference(&input);
        let seen: BTreeMap<_, Vec<_>> = whole.tables.iter().map(|(table, rows)| {
            (table.clone(), rows.iter().map(|(_, _, values)| values.clone()).collect())
        }).collect();
        prop_assert_eq!(&seen, &tables);
        prop_assert_eq!(whole.rejects.iter().map(|(position, ..)| position.line).collect::<Vec<_>>(), refused.clone());
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        let small = floats().with_limits(Limits::new().with_batch_rows(size));
        prop_assert_eq!(&decode(&input, &cuts, small.clone(), false), &whole);
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&decode(&input, &every, small, true), &whole);
        // Integers kept apart: the same lines but for those that would be inexact.
        let typed = decode(&input, &[], TelnetOptions::new(), false);
        prop_assert_eq!(&decode(&input, &cuts, TelnetOptions::new(), true), &typed);
        // The borrowed layer says the same of each line.
        for point in points(&input) {
            match point {
                Ok(point) => prop_assert!(point.line > 0),
                Err(error) => prop_assert!(refused.contains(&error.line), "{}", error),
            }
        }
    }

    #[test]
    fn read_back(
        rows in prop::collection::vec((0i64..2_000_000_000_000, prop::option::of(any::<i64>()), prop::option::of(any::<f64>().prop_filter("finite", |v| v.is_finite())), prop::option::of("[a-c,\\\\é]{1,15}")), 1..10),
        put in any::<bool>(),
    ) {
        let schema = Arc::new(Schema::new(vec![
            Column::new("timestamp", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
            Column::new("host", DataType::Text).with_role(Role::Tag),
            Column::new("int", DataType::Int64),
            Column::new("float", DataType::Float64),
        ]).unwrap());
        let rows: Vec<Vec<Value<'static>>> = rows.into_iter().map(|(time, int, float, host)| vec![
            // Below 2^32 milliseconds it would be read as seconds.
            Value::Timestamp(time + 4_294_967_296, TimeUnit::Millisecond, true),
            host.map_or(Value::Null, |host| Value::Text(host.into())),
            int.map_or(Value::Null, Value::Int),
            float.map_or(Value::Null, Value::Float64),
        ]).collect();
        let batch = TableBatch::from_rows("sys.cpu", schema, &rows).unwrap();
        let mut out = Vec::new();
        TelnetEncoder::new(TimeUnit::Millisecond).with_put(put).encode(&batch, 0..rows.len(), &mut out).unwrap();
        let output = decode(&out, &[], TelnetOptions::new(), false);
        prop_assert_eq!(&output.rejects, &[]);
        for (column, index) in [("int", 2), ("float", 3)] {
            let seen = output.tables.get(&format!("sys.cpu.{column}")).cloned().unwrap_or_default();
            let expected: Vec<_> = rows.iter().filter(|row| !row[index].is_null()).collect();
            prop_assert_eq!(seen.len(), expected.len());
            for ((_, _, values), row) in seen.iter().zip(expected) {
                prop_assert_eq!(&values["value"], &row[index]);
                prop_assert_eq!(&values["timestamp"], &row[0]);
                prop_assert_eq!(values.get("host").cloned().unwrap_or(Value::Null), row[1].clone());
            }
        }
    }
}

#[test]
fn rows_of_the_table_in_the_documentation() {
    for (line, expected) in [
        ("put m 1700000000 1 a=b", "ok"),
        ("m 1700000000 1 a=b", "ok"),
        ("m 1700000000 1", "ok"),
        ("m 1700000000.25 1 a=b", "ok"),
        ("m 1700000000 1 a=b a=b", "ok"),
        ("put put 1700000000 1", "ok"),
        ("version 1700000000 1", "ok"),
        ("m 1700000000 1 a=b a=c", "duplicate_tag"),
        ("m 1700000000 1 a", "bad_tag"),
        ("m 1700000000 1 a=", "bad_tag"),
        ("m 1700000000 1 =a", "bad_tag"),
        ("m 1700000000 1 a=b=c", "bad_tag"),
        ("m 1700000000 1 value=2", "column_clash"),
        ("m=1 1700000000 1", "bad_metric"),
        ("m", "missing_timestamp"),
        ("m 1700000000", "missing_value"),
        ("put", "missing_metric"),
        ("m now 1", "bad_timestamp"),
        ("m -1 1", "bad_timestamp"),
        ("m 17000000000000 1", "timestamp_overflow"),
        ("m 1700000000 one", "bad_value"),
        ("m 1700000000 NaN", "bad_value"),
        ("m 1700000000 9223372036854775808", "integer_overflow"),
        ("m 1700000000 1e400", "float_overflow"),
        ("m 1700000000 1\ta=b", "control_character"),
        ("version", "unsupported_command"),
        ("histogram m 1700000000 AA==", "unsupported_command"),
        ("rollup 1h-sum:m 1700000000 1 a=b", "unsupported_command"),
        ("stats", "unsupported_command"),
    ] {
        let output = decode(line.as_bytes(), &[], TelnetOptions::new(), false);
        let code = output.rejects.first().map_or("ok", |(_, code, ..)| code.as_str());
        assert_eq!(code, expected, "{line}");
        assert_eq!(output.rejects.len() + output.tables.values().map(Vec::len).sum::<usize>(), 1, "{line}");
    }
}

#[test]
fn metrics_and_times() {
    let input = b"put sys.cpu.user 1700000000500 42 host=a\n";
    for (metric, table, value, time) in [
        (MetricNames::Verbatim, "sys.cpu.user", "value", "timestamp"),
        (MetricNames::Underscore, "sys_cpu_user", "value", "k_timestamp"),
        (MetricNames::Split, "sys.cpu", "user", "timestamp"),
    ] {
        let output = decode(input, &[], TelnetOptions::new().with_metric(metric), false);
        let (_, _, row) = &output.tables[table][0];
        assert_eq!(row[value], Value::Int(42));
        assert_eq!(row[time], Value::Timestamp(1_700_000_000_500, TimeUnit::Millisecond, true));
    }
    let seconds = TelnetOptions::new().with_precision(Precision::S).with_time_column("at");
    let output = decode(b"m 1700000000500 1\nm 5 2\n", &[], seconds, false);
    assert_eq!(output.tables["m"][1].2["at"], Value::Timestamp(5000, TimeUnit::Millisecond, true));
    assert_eq!(
        output.tables["m"][0].2["at"],
        Value::Timestamp(1_700_000_000_500_000, TimeUnit::Millisecond, true)
    );
    let micros = TelnetOptions::new().with_precision(Precision::Us);
    let output = decode(b"m 1700000000500123 1\n", &[], micros, false);
    assert_eq!(
        output.tables["m"][0].2["timestamp"],
        Value::Timestamp(1_700_000_000_500_123, TimeUnit::Microsecond, true)
    );
}

#[test]
fn integers_and_floats() {
    // An integer column becomes one of floats where that is exact.
    let output = decode(b"m 1 1\nm 2 2.5\nm 3 3\n", &[], TelnetOptions::new(), false);
    let values: Vec<_> = output.tables["m"].iter().map(|(_, _, row)| row["value"].clone()).collect();
    assert_eq!(values, [Value::Float64(1.0), Value::Float64(2.5), Value::Float64(3.0)]);
    let output = decode(b"m 1 9007199254740993\nm 2 2.5\n", &[], TelnetOptions::new(), false);
    assert_eq!(output.rejects[0].1, "type_conflict");
    assert_eq!(output.tables["m"][0].2["value"], Value::Int(9_007_199_254_740_993));
}

#[test]
fn what_cannot_be_written() {
    let write = |columns: Vec<Column>, row: Vec<Value<'static>>| {
        let batch = TableBatch::from_rows("t", Arc::new(Schema::new(columns).unwrap()), &[row]).unwrap();
        let mut out = Vec::new();
        let done = TelnetEncoder::new(TimeUnit::Second).encode(&batch, 0..1, &mut out);
        assert!(done.is_ok() || out.is_empty());
        done.map(|()| String::from_utf8(out).unwrap()).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Data);
            error.to_string()
        })
    };
    let time =
        || Column::new("time", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp);
    let at = |ms| Value::Timestamp(ms, TimeUnit::Millisecond, true);
    let value = || Column::new("value", DataType::Float64);
    assert_eq!(write(vec![time(), value()], vec![at(5000), Value::Float64(1.0)]).unwrap(), "put t 5 1.0\n");
    let error = |columns, row| write(columns, row).unwrap_err();
    assert!(error(vec![time(), value()], vec![at(5500), Value::Float64(1.0)]).contains("digits beyond"));
    assert!(error(vec![time(), value()], vec![at(0), Value::Float64(f64::NAN)]).contains("not finite"));
    assert!(error(vec![value()], vec![Value::Float64(1.0)]).contains("role timestamp"));
    let tag = Column::new("host", DataType::Text).with_role(Role::Tag);
    let row = vec![at(0), Value::Float64(1.0), Value::Text("a b".into())];
    assert!(error(vec![time(), value(), tag], row).contains("blank"));
    let text = Column::new("note", DataType::Text);
    assert!(error(vec![time(), text], vec![at(0), Value::Text("x".into())]).contains("no number"));
}
