//! The decoder against the reference, under any cutting of the input.

use std::collections::{BTreeMap, HashMap};

use kwsync_core::{TimeUnit, Value};
use kwsync_formats::influx::reference::{self, Value as Raw};
use kwsync_formats::influx::{LineOptions, MissingTimestamp, Precision};
use proptest::prelude::*;

use crate::inputs;
use crate::output::{NOW, Output, decode, options};

/// What the decoder should make of `input`: rows by table with their line, and the lines refused.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    tables: BTreeMap<String, Vec<(u64, BTreeMap<String, Value<'static>>)>>,
    refused: Vec<u64>,
}

fn expected(input: &[u8]) -> Expected {
    let mut out = Expected::default();
    let mut types: HashMap<(String, String), String> = HashMap::new();
    for verdict in reference::parse(input) {
        let Some(point) = verdict.point else {
            out.refused.push(verdict.line);
            continue;
        };
        let tags =
            point.tags.iter().map(|(k, v)| (k.clone(), "tag".to_owned(), Value::Text(v.clone().into())));
        let fields = point.fields.iter().map(|(k, v)| {
            let (kind, value) = match v {
                Raw::I64(v) => ("i64", Value::Int(*v)),
                Raw::U64(v) => ("u64", Value::UInt(*v)),
                Raw::F64(v) => ("f64", Value::Float64(*v)),
                Raw::Bool(v) => ("bool", Value::Bool(*v)),
                Raw::Str(v) => ("string", Value::Text(v.clone().into())),
            };
            (k.clone(), kind.to_owned(), value)
        });
        let all: Vec<_> = tags.chain(fields).collect();
        let fits = all.iter().all(|(name, kind, _)| {
            let key = (point.measurement.clone(), name.clone());
            name != "time" && types.get(&key).is_none_or(|known| known == kind)
        });
        if !fits {
            out.refused.push(verdict.line);
            continue;
        }
        let mut row = BTreeMap::new();
        row.insert("time".to_owned(), time(point.timestamp.unwrap_or(NOW)));
        for (name, kind, value) in all {
            types.insert((point.measurement.clone(), name.clone()), kind);
            row.insert(name, value);
        }
        out.tables.entry(point.measurement).or_default().push((verdict.line, row));
    }
    out
}

fn time(ns: i64) -> Value<'static> {
    Value::Timestamp(ns, TimeUnit::Nanosecond, true)
}

fn seen(output: &Output) -> Expected {
    let tables = output.tables.iter().map(|(table, rows)| {
        (table.clone(), rows.iter().map(|row| (row.position.line, row.values.clone())).collect())
    });
    Expected { tables: tables.collect(), refused: output.rejects.iter().map(|r| r.position.line).collect() }
}

/// The first lines of the records refused: where their raw bytes begin. The fault itself lies on a later line
/// only where the record as a whole was refused, by its table.
fn first_lines(input: &[u8], output: &Output) -> Vec<u64> {
    output
        .rejects
        .iter()
        .map(|reject| {
            let start = reject.position.byte as usize - reject.at.map_or(0, |at| at as usize);
            let line = input[..start].iter().filter(|&&b| b == b'\n').count() as u64 + 1;
            assert!(reject.table.is_some() || reject.position.line == line, "{reject:?}");
            line
        })
        .collect()
}

fn check(input: &[u8], cuts: &[prop::sample::Index], rows: usize) -> Result<(), TestCaseError> {
    let whole = decode(input, &[], options(), false);
    let mut seen = seen(&whole);
    if whole.rejects.iter().all(|reject| reject.at.is_some()) {
        seen.refused = first_lines(input, &whole);
        prop_assert_eq!(&seen, &expected(input));
    } else {
        prop_assert_eq!(&seen.tables, &expected(input).tables);
    }
    for row in whole.tables.values().flatten() {
        let start = row.position.byte as usize;
        prop_assert_eq!(&row.raw[..], &input[start..start + row.raw.len()]);
    }
    let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    prop_assert_eq!(&decode(input, &cuts, options().with_batch_rows(rows), false), &whole);
    let every: Vec<usize> = (0..input.len()).collect();
    prop_assert_eq!(&decode(input, &every, options().with_batch_bytes(rows * 50), true), &whole);
    prop_assert_eq!(&decode(input, &cuts, options().with_batch_rows(rows), true), &whole);
    prop_assert_eq!(&decode(input, &[], options(), true), &whole);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines(input in inputs::lines(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6), rows in 1usize..20) {
        check(&input, &cuts, rows)?;
    }

    #[test]
    fn shaped(
        input in prop::collection::vec(inputs::shaped(), 0..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rows in 1usize..20,
    ) {
        check(input.concat().as_bytes(), &cuts, rows)?;
    }

    #[test]
    fn mutated(input in inputs::mutated(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6), rows in 1usize..20) {
        check(&input, &cuts, rows)?;
    }

    #[test]
    fn soup(input in inputs::any_input(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6), rows in 1usize..5) {
        check(&input, &cuts, rows)?;
    }

    /// With a low limit, the cut decides nothing either, and memory stays flat.
    #[test]
    fn long_lines(input in inputs::any_input(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6), max in 1usize..60) {
        let options = || options().with_max_line_bytes(max);
        let whole = decode(&input, &[], options(), false);
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        prop_assert_eq!(&decode(&input, &cuts, options(), false), &whole);
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&decode(&input, &every, options(), true), &whole);
        let lines: Vec<_> = kwsync_formats::influx::lines(&input).with_max_line_bytes(max).collect();
        prop_assert_eq!(lines.len() as u64, whole.counts.records);
    }
}

fn text(input: &str, options: LineOptions) -> Output {
    decode(input.as_bytes(), &[], options, false)
}

fn codes(output: &Output) -> Vec<(&str, u64)> {
    output.rejects.iter().map(|reject| (reject.code.as_str(), reject.position.line)).collect()
}

/// Each piece a message: read from slices and from chunks alike.
#[test]
fn messages() {
    use kwsync_core::Decoder;
    use kwsync_formats::influx::LineDecoder;
    let messages = [
        "m f=1 1",
        "m f=\"a\nb",
        "# c",
        "m,t=x f=2 2\r",
        "m,t=y f=3 3\nm f=4",
        "\u{e9} f=5\r\n",
        "m f=\"a\nb\" 3",
    ];
    let run = |slices: bool| {
        let mut decoder = LineDecoder::new(options());
        for _ in 0..3 {
            for message in messages {
                let bytes = bytes::Bytes::from(message);
                if slices { decoder.decode_slice(&bytes) } else { decoder.decode(&bytes) }.unwrap();
                decoder.end_record().unwrap();
            }
        }
        let decoded = decoder.flush().unwrap();
        let rows: Vec<_> = decoded
            .batches
            .iter()
            .flat_map(|batch| {
                (0..batch.rows()).map(|i| {
                    let raw = String::from_utf8_lossy(batch.origin().raw(i).unwrap()).into_owned();
                    (batch.origin().position(i), raw, batch.row(i).to_json().to_string())
                })
            })
            .collect();
        (rows, decoded.rejects)
    };
    let (rows, rejects) = run(true);
    assert_eq!((&rows, &rejects), (&run(false).0, &run(false).1));
    let raw: Vec<_> = rows.iter().take(3).map(|row| row.1.as_str()).collect();
    assert_eq!(raw, ["m f=1 1", "m,t=y f=3 3", "m f=4"]);
    let codes: Vec<_> = rejects.iter().take(4).map(|reject| reject.code.as_str()).collect();
    assert_eq!(codes, ["unterminated_string", "missing_fields", "control_character", "type_conflict"]);
}

#[test]
fn first_type_wins() {
    let output = text("m f=1i 1\nm f=2.5 2\nm,f=x g=1 3\nm f=3i 4\n", options());
    assert_eq!(codes(&output), [("type_conflict", 2), ("type_conflict", 3)]);
    assert_eq!(output.tables["m"].len(), 2);
    assert_eq!(output.rejects[0].position.column, 3);
    assert_eq!(output.rejects[0].table.as_ref().map(|t| t.name()), Some("m"));
    // The refused records left no column behind.
    assert!(output.rejects.iter().all(|r| r.raw.starts_with(b"m")));
}

#[test]
fn a_conflict_costs_its_whole_record() {
    // Its string must not be read as lines.
    let output = text("m f=1i 1\nm f=\"x\nm f=7i 7\n\" 2\nm f=3i 3\n", options());
    assert_eq!(codes(&output), [("type_conflict", 2)]);
    assert_eq!(output.tables["m"].len(), 2);
    assert_eq!(output.tables["m"][1].position.line, 5);
}

#[test]
fn column_clash() {
    let output = text("m,time=1 f=1 1\nm time=1i 1\n", options());
    assert_eq!(codes(&output), [("column_clash", 1), ("column_clash", 2)]);
    let output = text("m,time=1 f=1 1\n", options().with_time_column("k_timestamp"));
    assert!(output.rejects.is_empty());
}

#[test]
fn missing_timestamps() {
    let output = text("m f=1\nm f=2 5\n", options());
    assert_eq!(output.counts.missing_timestamps, 1);
    assert_eq!(output.tables["m"][0].values["time"], time(NOW));
    let output = text("m f=1\nm f=2 5\n", options().with_missing_timestamp(MissingTimestamp::Null));
    assert!(!output.tables["m"][0].values.contains_key("time"));
    assert_eq!(output.tables["m"][1].values["time"], time(5));
    let output = text("m f=1\nm f=2 5\n", options().with_missing_timestamp(MissingTimestamp::Reject));
    assert_eq!(codes(&output), [("missing_timestamp", 1)]);
}

#[test]
fn precision_is_checked() {
    let output = text("m f=1 1700000000\nm f=1 9223372037\n", options().with_precision(Precision::S));
    assert_eq!(codes(&output), [("timestamp_overflow", 2)]);
    assert_eq!(output.rejects[0].position.column, 7);
    assert_eq!(output.tables["m"][0].values["time"], time(1_700_000_000_000_000_000));
}

#[test]
fn duplicate_fields() {
    let output = text("m f=1i,g=2i,f=3i 1\nm f=4i,g=5i 2\nm f=\"a\",f=\"b\" 1\n", options());
    assert_eq!(output.counts.duplicate_fields, 1);
    assert_eq!(output.tables["m"][0].values["f"], Value::Int(3));
    assert_eq!(output.tables["m"][1].values["f"], Value::Int(4));
    assert_eq!(codes(&output), [("type_conflict", 3)]);
}

#[test]
fn limits() {
    let output = text("m a=1,b=2 1\nm a=1,c=2 2\nm a=3 3\n", options().with_max_columns(2));
    assert_eq!(codes(&output), [("too_many_columns", 2)]);
    let output = text("a f=1 1\nb f=1 2\na f=2 3\n", options().with_max_tables(1));
    assert_eq!(codes(&output), [("too_many_tables", 2)]);
    let long = format!("m f=\"{}\" 1\nm f=\"y\" 2\n", "x".repeat(100));
    let output = text(&long, options().with_max_line_bytes(50));
    assert_eq!(codes(&output), [("line_too_long", 1)]);
    assert_eq!(output.tables["m"].len(), 1);
}

#[test]
fn new_columns_and_nulls() {
    let input = "m,a=1 x=1i 1\nm,b=2 y=\"s\" 2\nm,a=3,b=4 x=2i,z=t 3\n".repeat(50);
    let output = text(&input, options().with_batch_rows(64));
    let rows = &output.tables["m"];
    assert_eq!(rows.len(), 150);
    assert_eq!(rows[0].values.len(), 3);
    assert_eq!(rows[149].values["z"], Value::Bool(true));
}

#[test]
fn columns_are_time_tags_fields() {
    use kwsync_core::{Decoder, Role};
    let mut decoder = kwsync_formats::influx::LineDecoder::new(options());
    decoder.decode(&"m,b=1 x=1,a=2 1\nm,c=1 w=1 2\n".into()).unwrap();
    let decoded = decoder.flush().unwrap();
    let schema = decoded.batches[0].schema();
    let names: Vec<_> = schema.columns().iter().map(|c| c.name()).collect();
    assert_eq!(names, ["time", "b", "c", "x", "a", "w"]);
    let version = schema.version();
    assert_eq!(schema.column("c").unwrap().role(), Role::Tag);
    assert_eq!(schema.column("time").unwrap().role(), Role::Timestamp);
    decoder.decode(&"m,c=1 new=1 3\n".into()).unwrap();
    assert!(decoder.flush().unwrap().batches[0].schema().version() > version);
}

#[test]
fn stray_quotes_cost_one_line() {
    let output =
        text("# don't \"\nm f=1 1\nm,t=\" f=2 2\nm f=\"open 3\nm f=4 4\nm f=\"x\"y 5\nm f=6 6\n", options());
    assert_eq!(codes(&output), [("unterminated_string", 4), ("text_after_string", 6)]);
    assert_eq!(output.tables["m"].len(), 4);
    let (open, text) = (&output.rejects[0], &output.rejects[1]);
    assert_eq!((open.position.column, open.at, &open.raw[..]), (5, Some(4), &b"m f=\"open 3"[..]));
    assert!(open.reason.contains("on line 6 is no record: text follows"), "{}", open.reason);
    assert_eq!((text.position.column, text.at), (8, Some(7)));
}
