//! The fast parser of line protocol against the slow one: the same lines accepted, with the same values.
#![no_main]

use kwsync_formats::influx::reference::{self, Value};
use kwsync_formats::influx::{FieldValue, Precision, lines, write_point};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // The slow one copies a lot.
    if input.len() > 4096 {
        return;
    }
    let slow = reference::parse(input);
    let mut count = 0;
    for (line, verdict) in lines(input).zip(&slow) {
        count += 1;
        let (line, point) = match (line, &verdict.point) {
            (Ok(line), Some(point)) => (line, point),
            (Err(_), None) => continue,
            (line, point) => panic!("{line:?} but {point:?}"),
        };
        assert_eq!(line.position().line, verdict.line);
        assert_eq!(line.position().record, count);
        assert_eq!(line.measurement(), point.measurement.as_str());
        assert_eq!(line.timestamp(), point.timestamp);
        let tags: Vec<_> = line.tags().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(tags, point.tags);
        assert_eq!(line.fields().count(), point.fields.len());
        for ((key, value), (name, expected)) in line.fields().zip(&point.fields) {
            assert_eq!(key, name.as_str());
            let same = match (value, expected) {
                (FieldValue::I64(a), Value::I64(b)) => a == *b,
                (FieldValue::U64(a), Value::U64(b)) => a == *b,
                (FieldValue::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
                (FieldValue::Bool(a), Value::Bool(b)) => a == *b,
                (FieldValue::Str(a), Value::Str(b)) => a == b.as_str(),
                _ => false,
            };
            assert!(same, "{value:?} but {expected:?}");
        }
        write_point(&line, Precision::Ns, &mut Vec::new()).expect("nanoseconds need no scaling");
    }
    assert_eq!(count as usize, slow.len());
});
