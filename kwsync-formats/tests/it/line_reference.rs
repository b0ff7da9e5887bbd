//! The borrowed layer against the reference parser.

use kwsync_formats::influx::reference::{self, Point, Value, Verdict};
use kwsync_formats::influx::{FieldValue, Reason, lines};
use proptest::prelude::*;

use crate::inputs;

fn fast(input: &[u8]) -> Vec<Verdict> {
    lines(input)
        .map(|line| match line {
            Ok(line) => Verdict {
                line: line.position().line,
                point: Some(Point {
                    measurement: line.measurement().to_string(),
                    tags: line.tags().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
                    fields: line
                        .fields()
                        .map(|(k, v)| {
                            let value = match v {
                                FieldValue::I64(v) => Value::I64(v),
                                FieldValue::U64(v) => Value::U64(v),
                                FieldValue::F64(v) => Value::F64(v),
                                FieldValue::Bool(v) => Value::Bool(v),
                                FieldValue::Str(v) => Value::Str(v.to_string()),
                                other => panic!("{other:?} is of no such dialect"),
                            };
                            (k.to_string(), value)
                        })
                        .collect(),
                    timestamp: line.timestamp(),
                }),
            },
            Err(error) => {
                let raw = error.raw();
                let start = raw.as_ptr() as usize - input.as_ptr() as usize;
                let at = error.position().byte as usize - start;
                // The fault lies within the one line that it costs; where a string runs on, at its quote.
                assert!(at <= raw.len() + 1, "{error} in {raw:?}");
                if let Some((_, line)) = error.later() {
                    assert_eq!(error.reason(), Reason::UnterminatedString);
                    assert!(line > error.position().line);
                }
                if error.reason() == Reason::UnterminatedString {
                    assert_eq!(raw.get(at), Some(&b'"'));
                }
                Verdict { line: error.position().line, point: None }
            }
        })
        .collect()
}

fn check(input: &[u8]) -> Result<(), TestCaseError> {
    let (fast, slow) = (fast(input), reference::parse(input));
    prop_assert_eq!(&fast, &slow, "input {:?}", String::from_utf8_lossy(input));
    for (i, line) in lines(input).enumerate() {
        let position = line.as_ref().map_or_else(|e| e.position(), |l| l.position());
        prop_assert_eq!(position.record, i as u64 + 1);
        let before = &input[..position.byte as usize];
        let newlines = before.iter().filter(|&&b| b == b'\n').count();
        prop_assert_eq!(position.line, newlines as u64 + 1);
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
        prop_assert_eq!(position.column, (before.len() - line_start) as u64 + 1);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_agree(input in inputs::lines()) {
        check(&input)?;
    }

    #[test]
    fn mutated_lines_agree(input in inputs::mutated()) {
        check(&input)?;
    }

    #[test]
    fn soup_agrees(input in inputs::soup()) {
        check(&input)?;
    }

    #[test]
    fn bytes_agree(input in inputs::any_input()) {
        check(&input)?;
    }
}
