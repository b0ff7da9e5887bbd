//! The encoder of line protocol beside a slow and plain one: the same bytes, for every dialect and every way in which
//! a column may lie in memory.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::types::{Int8Type, UInt32Type};
use arrow_array::{ArrayRef, DictionaryArray, LargeStringArray, StringArray, StringViewArray};
use kwsync_core::{Column, DataType, Encoder, Origin, Role, Schema, TableBatch, TimeUnit, Value};
use kwsync_formats::influx::{Dialect, LineEncoder, Precision};
use proptest::prelude::*;

/// A text with a backslash before each of some bytes.
fn escape(text: &str, special: &str) -> String {
    text.chars().flat_map(|c| special.contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// The digits of a float in scientific notation, laid out; `plain` are the exponents that are written without one.
fn float(scientific: &str, plain: std::ops::RangeInclusive<i32>) -> String {
    let (sign, rest) = scientific.strip_prefix('-').map_or(("", scientific), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once('e').unwrap();
    let (digits, exponent) = (mantissa.replace('.', ""), exponent.parse::<i32>().unwrap());
    if digits == "0" {
        return format!("{sign}0.0");
    }
    if !plain.contains(&exponent) {
        return format!("{sign}{mantissa}e{exponent}");
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    let digits = format!("{digits:0<width$}", width = whole + 1);
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

/// The fewest digits that read back as `v`. Of two such that are as near the standard library takes the upper, and we
/// the even one, which it gives where it is asked for so many digits.
fn shortest<T: std::str::FromStr + PartialEq + std::fmt::LowerExp>(v: T) -> String {
    let shortest = format!("{v:e}");
    let (mantissa, _) = shortest.split_once('e').unwrap();
    let behind = mantissa.split_once('.').map_or(0, |(_, behind)| behind.len());
    let even = format!("{v:.behind$e}");
    if even.parse().is_ok_and(|even: T| even == v) { even } else { shortest }
}

fn single(v: f32) -> String {
    float(&shortest(v), -6..=12)
}

fn double(v: f64) -> String {
    float(&shortest(v), -5..=15)
}

/// In the dialect `influx` whole numbers below 10^9 have no point.
fn short_double(v: f64) -> String {
    if v.abs() < 1e9 && v.fract() == 0.0 { format!("{v:.0}") } else { double(v) }
}

fn field(dialect: Dialect, data_type: &DataType, value: &Value<'_>) -> String {
    let influx = dialect == Dialect::Influx;
    let kwdb = dialect == Dialect::Kwdb;
    let bits = match data_type {
        DataType::Int8 | DataType::UInt8 => 8,
        DataType::Int16 | DataType::UInt16 => 16,
        DataType::Int32 | DataType::UInt32 | DataType::Float32 => 32,
        _ => 64,
    };
    match value {
        Value::Bool(v) => v.to_string(),
        Value::Int(v) if influx => format!("{v}i"),
        Value::UInt(v) if influx => format!("{v}u"),
        Value::Int(v) if kwdb => format!("{v}i{}", bits.max(16)),
        Value::Int(v) => format!("{v}i{bits}"),
        Value::UInt(v) if kwdb => format!("{v}i{}", (bits * 2).min(64)),
        Value::UInt(v) => format!("{v}u{bits}"),
        Value::Float32(v) if influx => single(*v),
        Value::Float64(v) if influx => short_double(*v),
        Value::Float32(v) => format!("{}f32", single(*v)),
        Value::Float64(v) => format!("{}f64", double(*v)),
        Value::Text(v) if kwdb && v.starts_with("\\x") => format!("'{}'", escape(v, ",= \"'\\")),
        Value::Text(v) => format!("\"{}\"", escape(v, "\"\\")),
        other => panic!("{other:?}"),
    }
}

fn tag(dialect: Dialect, value: &Value<'_>) -> String {
    let text = match value {
        Value::Text(v) => v.to_string(),
        Value::Float32(v) if dialect == Dialect::Influx => single(*v),
        Value::Float64(v) if dialect == Dialect::Influx => short_double(*v),
        other => other.to_string(),
    };
    escape(&text, key_escapes(dialect))
}

fn key_escapes(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Influx => ",= ",
        Dialect::Kwdb => ",= \"\\",
        Dialect::Tdengine => ",= \\",
    }
}

/// The rows of a batch, the plain way.
fn reference(dialect: Dialect, batch: &TableBatch) -> String {
    let mut out = String::new();
    for row in 0..batch.rows() {
        let measurement = match dialect {
            Dialect::Influx => ", ",
            Dialect::Kwdb => ",= \"\\",
            Dialect::Tdengine => ", \\",
        };
        out += &escape(batch.table().name(), measurement);
        let (mut fields, mut time) = (Vec::new(), String::new());
        for column in batch.schema().columns() {
            let value = batch.row(row).get(column.name()).unwrap().into_owned();
            let key = escape(column.name(), key_escapes(dialect));
            match (column.role(), &value) {
                (_, Value::Null) => {}
                (Role::Timestamp, Value::Timestamp(v, ..)) => time = format!(" {v}"),
                (Role::Tag, _) => write!(out, ",{key}={}", tag(dialect, &value)).unwrap(),
                _ => fields.push(format!("{key}={}", field(dialect, column.data_type(), &value))),
            }
        }
        writeln!(out, " {}{time}", fields.join(",")).unwrap();
    }
    out
}

/// A column's type, whether a tag, how a text lies in memory, and its values.
type Cells = (DataType, bool, u8, Vec<Value<'static>>);

fn floats() -> impl Strategy<Value = f64> {
    let finite = any::<f64>().prop_filter("finite", |v| v.is_finite());
    prop_oneof![
        2 => finite,
        2 => -1000.0..1000.0,
        // From where they get an exponent to where they get another.
        3 => (any::<u64>(), 1000u64..1080, any::<bool>())
            .prop_map(|(m, e, n)| f64::from_bits(m >> 12 | e << 52 | u64::from(n) << 63)),
        // Short decimals, and their neighbours.
        4 => (any::<i32>(), 0..14i32, 0..3u64)
            .prop_map(|(n, e, more)| f64::from_bits((f64::from(n) / 10f64.powi(e)).to_bits().wrapping_add(more))),
        2 => (any::<i64>(), 0..20i32).prop_map(|(n, e)| n as f64 / 10f64.powi(e)),
        1 => (0..64i32).prop_map(|e| 2f64.powi(e - 32)),
        1 => Just(0.0), 1 => Just(-0.0), 1 => Just(1e9), 1 => Just(999_999_999.0), 1 => Just(1e7),
    ]
}

fn integers() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0..64u32).prop_map(|(v, shift)| v >> shift)
}

fn texts(tag: bool) -> BoxedStrategy<String> {
    let any = prop_oneof![
        4 => "[a-c]{1,15}",
        3 => "[a-d ,=\"\\\\'x]{1,40}",
        2 => "[a-cé日,= 😀\"\\\\]{1,24}",
        1 => "[a-z]{250,270}",
        1 => "[\"\\\\]{200,600}",
        1 => "\\\\\\\\x[0-9a-f]{0,4}",
    ];
    if tag {
        // A tag's value must not be empty or end in a backslash.
        any.prop_map(|text| if text.ends_with('\\') { text + "." } else { text }).boxed()
    } else {
        prop_oneof![9 => any, 1 => Just(String::new())].boxed()
    }
}

fn cells(rows: usize) -> impl Strategy<Value = Cells> {
    let column = move |data_type: DataType, tags: bool, values: BoxedStrategy<Value<'static>>| {
        let some = prop::collection::vec(values.clone(), rows);
        let values = prop_oneof![4 => values, 1 => Just(Value::Null)];
        let all = prop_oneof![some, prop::collection::vec(values, rows)];
        (Just(data_type), any::<bool>().prop_map(move |tag| tags && tag), 0..5u8, all).boxed()
    };
    let int = |data_type, bits: u32| {
        column(data_type, true, integers().prop_map(move |v| Value::Int(v >> (64 - bits))).boxed())
    };
    let uint = |data_type, bits: u32| {
        // KWDB's have 63 bits.
        let value = integers().prop_map(move |v| Value::UInt((v as u64 & (i64::MAX as u64)) >> (64 - bits)));
        column(data_type, true, value.boxed())
    };
    prop_oneof![
        4 => (Just(DataType::Text), Just(true), 0..5u8, nullable(texts(true), rows)),
        4 => (Just(DataType::Text), Just(false), 0..5u8, nullable(texts(false), rows)),
        6 => column(DataType::Float64, false, floats().prop_map(Value::Float64).boxed()),
        2 => column(DataType::Float32, false, floats().prop_map(|v| v as f32)
            .prop_filter("finite", |v| v.is_finite()).prop_map(Value::Float32).boxed()),
        1 => column(DataType::Bool, true, any::<bool>().prop_map(Value::Bool).boxed()),
        1 => int(DataType::Int8, 8), 1 => int(DataType::Int16, 16), 1 => int(DataType::Int32, 32),
        4 => int(DataType::Int64, 64),
        1 => uint(DataType::UInt8, 8), 1 => uint(DataType::UInt16, 16), 1 => uint(DataType::UInt32, 32),
        2 => uint(DataType::UInt64, 64),
    ]
}

fn nullable(texts: BoxedStrategy<String>, rows: usize) -> BoxedStrategy<Vec<Value<'static>>> {
    let text = texts.prop_map(|text| Value::Text(text.into())).boxed();
    let some = prop::collection::vec(text.clone(), rows);
    prop_oneof![some, prop::collection::vec(prop_oneof![4 => text, 1 => Just(Value::Null)], rows)].boxed()
}

/// Texts as they may lie in memory.
fn array(values: &[Value<'static>], how: u8) -> ArrayRef {
    let texts = values.iter().map(|value| match value {
        Value::Text(text) => Some(&**text),
        _ => None,
    });
    match how {
        0 => Arc::new(texts.collect::<StringArray>()),
        1 => Arc::new(texts.collect::<LargeStringArray>()),
        2 => Arc::new(texts.collect::<DictionaryArray<UInt32Type>>()),
        3 => Arc::new(texts.collect::<DictionaryArray<Int8Type>>()),
        _ => Arc::new(texts.collect::<StringViewArray>()),
    }
}

fn batches() -> impl Strategy<Value = TableBatch> {
    let rows = 6;
    let name = prop_oneof![3 => "[a-c]{1,8}", 2 => "[a-c ,=\"\\\\é]{1,50}x"];
    let times = prop::collection::vec(
        prop_oneof![
            4 => (1_700_000_000_000_000_000..1_700_000_001_000_000_000i64).prop_map(Some),
            2 => integers().prop_map(Some),
            1 => Just(None),
        ],
        rows,
    );
    (name, prop::collection::vec(cells(rows), 0..8), times, integers()).prop_map(
        move |(name, cells, times, n)| {
            let mut columns = vec![Column::new("n", DataType::Int64)];
            let mut values = vec![vec![Value::Int(n); rows]];
            let mut hows = vec![None];
            for (index, (data_type, tag, how, column)) in cells.into_iter().enumerate() {
                let role = if tag { Role::Tag } else { Role::Field };
                hows.push((data_type == DataType::Text).then_some(how));
                columns.push(Column::new(format!("{name}{index}"), data_type).with_role(role));
                values.push(column);
            }
            columns.push(
                Column::new("time", DataType::TimestampTz(TimeUnit::Nanosecond)).with_role(Role::Timestamp),
            );
            hows.push(None);
            let time = |time: Option<i64>| {
                time.map_or(Value::Null, |v| Value::Timestamp(v, TimeUnit::Nanosecond, true))
            };
            values.push(times.into_iter().map(time).collect());
            let all: Vec<Vec<_>> =
                (0..rows).map(|row| values.iter().map(|column| column[row].clone()).collect()).collect();
            let schema = Arc::new(Schema::new(columns).unwrap());
            let batch = TableBatch::from_rows(name.as_str(), Arc::clone(&schema), &all).unwrap();
            let arrays = batch.batch().columns().iter().zip(&hows).zip(&values).map(
                |((usual, how), values)| match how {
                    Some(how) => array(values, *how),
                    None => Arc::clone(usual),
                },
            );
            TableBatch::from_columns(name.as_str(), schema, arrays.collect(), Origin::unknown(rows)).unwrap()
        },
    )
}

fn encode(encoder: &mut LineEncoder, batch: &TableBatch, cuts: &[usize], out: &mut Vec<u8>) {
    let mut from = 0;
    for to in cuts.iter().copied().chain([batch.rows()]) {
        encoder.encode(batch, from..to.max(from), out).unwrap();
        from = to.max(from);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_bytes_as_the_plain_way(
        batch in batches(),
        dialect in prop_oneof![3 => Just(Dialect::Influx), 1 => Just(Dialect::Kwdb), 1 => Just(Dialect::Tdengine)],
        cuts in prop::collection::vec(0..7usize, 0..3),
        before in "[a-z]{0,3}",
    ) {
        let mut out = before.clone().into_bytes();
        let mut encoder = LineEncoder::new(Precision::Ns).with_dialect(dialect);
        encode(&mut encoder, &batch, &cuts.into_iter().map(|cut| cut.min(6)).collect::<Vec<_>>(), &mut out);
        let out = String::from_utf8(out).unwrap();
        prop_assert_eq!(out, before + &reference(dialect, &batch));
    }

    /// Floats alone, many in a column: which way they are written depends on those before.
    #[test]
    fn the_same_floats(values in prop::collection::vec(floats(), 1..200)) {
        let schema = Arc::new(Schema::new(vec![Column::new("f", DataType::Float64)]).unwrap());
        let rows: Vec<_> = values.iter().map(|v| vec![Value::Float64(*v)]).collect();
        let batch = TableBatch::from_rows("m", schema, &rows).unwrap();
        let mut out = Vec::new();
        encode(&mut LineEncoder::new(Precision::Ns), &batch, &[], &mut out);
        let expected: String = values.iter().map(|v| format!("m f={}\n", short_double(*v))).collect();
        prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
