//! What JSON costs: no allocation per record, flat memory, and time that grows with the input only.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use kwsync_core::Decoder;
use kwsync_formats::Limits;
use kwsync_formats::json::kaiwudb::{KaiwudbJsonDecoder, KaiwudbJsonOptions};
use kwsync_formats::json::mapping::{Mapping, MappingDecoder, MappingOptions};
use kwsync_formats::json::opentsdb::{OpentsdbJsonDecoder, OpentsdbJsonOptions};
use kwsync_formats::json::{JsonDecoder, JsonOptions, Records};

use crate::json::limits;
use crate::steady::allocations;

fn all(mode: Records, limits: &dyn Fn() -> Limits) -> Vec<(&'static str, Box<dyn Decoder>)> {
    let mapping = r#"{"parse": {"value": {"json": ["ts::timestamp", "a", "$.x.y[0]::int"]}}, "model": {"name": "t", "columns": ["ts", "a", "y"]}}"#;
    let mapping = Mapping::parse(mapping).unwrap();
    vec![
        (
            "json",
            Box::new(JsonDecoder::new(
                JsonOptions::new().with_table_key("t").with_records(mode).with_limits(limits()),
            )),
        ),
        ("opentsdb", Box::new(OpentsdbJsonDecoder::new(OpentsdbJsonOptions::new().with_limits(limits())))),
        (
            "kaiwudb",
            Box::new(KaiwudbJsonDecoder::new(
                KaiwudbJsonOptions::new().with_records(mode).with_limits(limits()),
            )),
        ),
        (
            "mapping",
            Box::new(MappingDecoder::new(
                MappingOptions::new(mapping).with_records(mode).with_limits(limits()),
            )),
        ),
    ]
}

fn rows(i: usize) -> String {
    let note = if i.is_multiple_of(3) {
        "null".to_owned()
    } else {
        format!("\"a \\\"quoted\\\" text of some length {i}\"")
    };
    format!(
        "{{\"t\":\"cpu\",\"host\":\"host_{i}\",\"usage\":{},\"idle\":{}.5,\"up\":true,\"note\":{note},\"list\":[1,{i}]}}\n{{\"t\":\"mem\",\"host\":\"host_{i}\",\"free\":{i}}}\n",
        i % 100,
        i % 7
    )
}

#[test]
fn no_allocation_per_record() {
    let big = || limits().with_batch_rows(100_000);
    let json: String = (0..4000).map(rows).collect();
    let points: String = (0..8000)
        .map(|i| format!("{{\"metric\":\"m.{}\",\"timestamp\":{},\"value\":{}.25,\"tags\":{{\"host\":\"host_{i}\",\"dc\":\"a long data center's name\"}}}}\n", i % 7, 1_700_000_000 + i, i % 50))
        .collect();
    let objects: String = (0..80)
        .map(|i| {
            let rows: Vec<_> = (0..100).map(|j| format!("{{\"ts\":{},\"a\":{j},\"b\":{j}.5,\"p\":\"host_{}\"}}", i * 100 + j, j % 9)).collect();
            format!("{{\"table\":\"t\",\"columns\":[{{\"name\":\"ts\",\"type\":\"TIMESTAMP\"}},{{\"name\":\"a\",\"type\":\"INT4\"}},{{\"name\":\"b\",\"type\":\"FLOAT8\"}}],\"data\":[{}],\"tags\":[{{\"name\":\"p\",\"type\":\"VARCHAR\",\"length\":64,\"isPrimary\":true}}]}}\n", rows.join(","))
        })
        .collect();
    let decoders = all(Records::Auto, &big).into_iter();
    for ((name, mut decoder), text) in decoders.zip([json, points, objects]) {
        let input = Bytes::from(text);
        for _ in 0..3 {
            assert_eq!(decoder.decode(&input).unwrap(), input.len());
            assert!(decoder.flush().unwrap().rejects.is_empty());
        }
        let count = allocations(|| {
            decoder.decode(&input).unwrap();
        });
        assert_eq!(decoder.buffered_rows(), 8000, "{name}");
        assert!(count < 64, "{name}: {count} allocations for 8000 rows");
        decoder.flush().unwrap();
        // Messages as Kafka brings them, the bytes the caller's.
        let messages: Vec<&[u8]> =
            input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let feed = |decoder: &mut dyn Decoder| {
            for message in &messages {
                decoder.decode_slice(message).unwrap();
                decoder.end_record().unwrap();
            }
        };
        for _ in 0..2 {
            feed(&mut *decoder);
            assert!(decoder.flush().unwrap().rejects.is_empty());
        }
        let count = allocations(|| feed(&mut *decoder));
        assert!(count < 64, "{name}: {count} allocations for {} messages", messages.len());
        assert_eq!(decoder.buffered_rows(), 8000, "{name}");
    }
}

/// Sixty-four megabytes that never end, of whatever kind: one reject, and no memory.
#[test]
fn endless_records_take_no_memory() {
    let endless: [(&[u8], &[u8]); 7] = [
        (b"", b"["),
        (b"", b"{\"a\":"),
        (b"{\"a\":\"", b"x"),
        (b"{\"a\":[1", b",1"),
        (b"{\"data\":[1", b",{}"),
        (b"{\"a\":1", b" "),
        (b"", b"x"),
    ];
    for mode in [Records::Lines, Records::Values] {
        for (start, piece) in endless {
            for (name, mut decoder) in all(mode, &|| limits().with_max_record_bytes(1 << 20)) {
                decoder.decode(&Bytes::copy_from_slice(start)).unwrap();
                let chunk = Bytes::from(piece.repeat((1 << 20) / piece.len()));
                let mut rejects = 0;
                for _ in 0..64 {
                    let mut rest = chunk.clone();
                    while !rest.is_empty() {
                        let used = decoder.decode(&rest).unwrap();
                        rest.advance(used);
                        rejects += decoder.flush().unwrap().rejects.len();
                    }
                    let held = decoder.buffered_bytes();
                    assert!(held < 4 << 20, "{name}: {held} bytes for {}", String::from_utf8_lossy(piece));
                }
                decoder.finish().unwrap();
                rejects += decoder.flush().unwrap().rejects.len();
                assert!(
                    (1..3).contains(&rejects),
                    "{name}: {rejects} rejects for {}",
                    String::from_utf8_lossy(piece)
                );
            }
        }
    }
}

/// Were any of these quadratic, it would take hours.
#[test]
fn time_is_linear() {
    let size = 1 << 19;
    let pieces = [
        "{\"a\":1,\n",
        "{\"a\":[\n",
        "{\"a\":{\n",
        "{\"a\":\"\n",
        "{\"a\":\"",
        "[{",
        "[{\n",
        "]\n",
        ",\n",
        "{}\n",
        "[\n",
        "{\"a\":\"\\",
        "{\"a\":1}}\n",
        "{\"a\":1} x\n",
        "{\"a\":[{\"b\":[\n",
        "{\"a\":\"\\ud83d",
        "{\n\"a\":1,\n\"b\":\n",
        "{\"table\":\"t\",\"columns\":[{\"name\":\"c\",\"type\":\"INT4\"}],\"data\":[{\"c\":1},{\"c\":\n",
        "{\"data\":[\n",
        "{\"data\":[{\"a\":\"\n",
        "\u{e9}{\n",
        "{\"metric\":\"m\",\"timestamp\":1,\"value\":1},\n",
    ];
    let mut inputs: Vec<String> = pieces.iter().map(|piece| piece.repeat(size / piece.len())).collect();
    let keys = |n: usize| (0..n).map(|i| format!(",\"k{i}\":1")).collect::<String>();
    // A million columns, a million tables, a million shapes, a million repeated keys.
    inputs.push(format!("{{\"a\":1{}}}\n", keys(100_000)));
    inputs.push((0..20_000).map(|i| format!("{{\"k{i}\":1}}\n")).collect());
    inputs.push((0..20_000).map(|i| format!("{{\"t\":\"t{i}\",\"a\":1}}\n")).collect());
    inputs.push(
        (0..20_000).map(|i| format!("{{\"a\":{i},\"b{}\":1,\"c{}\":null}}\n", i % 97, i % 89)).collect(),
    );
    inputs.push(format!("{{\"a\":1{}}}\n", ",\"b\":1".repeat(100_000)));
    inputs.push(format!("{{\"a\":1{}}}\n", ",\"b\":null".repeat(100_000)));
    inputs
        .push((0..10_000).map(|i| format!("{{\"metric\":\"m{i}\",\"timestamp\":1,\"value\":1}}")).collect());
    inputs.push((0..10_000).map(|i| format!("{{\"table\":\"t{i}\",\"columns\":[{{\"name\":\"c\",\"type\":\"INT4\"}}],\"data\":[{{\"c\":1}}]}}\n")).collect());
    for mode in [Records::Lines, Records::Values] {
        for input in &inputs {
            for (name, mut decoder) in all(mode, &|| {
                limits().with_max_record_bytes(4 << 20).with_max_tables(1000).with_max_columns(500)
            }) {
                let start = Instant::now();
                for piece in input.as_bytes().chunks(5000) {
                    let mut chunk = Bytes::copy_from_slice(piece);
                    while !chunk.is_empty() {
                        let used = decoder.decode(&chunk).unwrap();
                        chunk.advance(used);
                        if decoder.wants_flush() {
                            decoder.flush().unwrap();
                        }
                    }
                }
                decoder.finish().unwrap();
                assert!(!decoder.has_partial_record());
                let took = start.elapsed();
                let shown: String = input.chars().take(40).collect();
                if took > Duration::from_secs(2) {
                    eprintln!("{name} {mode:?}: {took:?} for {shown:?}");
                }
                assert!(took < Duration::from_secs(60), "{name} {mode:?}: {took:?} for {shown:?}");
            }
        }
    }
}
