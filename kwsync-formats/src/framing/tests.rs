//! The decoder over a toy format: `table key=integer`, a record a line; `#` begins a comment.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use kwsync_core::{Column, DataType, Decoder, Position, Reject, TableId};
use proptest::prelude::*;

use super::*;
use crate::build::{Cell, Kind, Rule, Str, Tables};

struct Toy;

impl RecordFormat for Toy {
    type Boundary = Lines;

    fn name(&self) -> &'static str {
        "toy"
    }

    fn boundary(&self) -> Lines {
        Lines
    }

    fn read(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        let Piece { data, at, last, chunk } = piece;
        let rest = &data[at..];
        let (text, next) = match memchr::memchr(b'\n', rest) {
            Some(n) => (&rest[..n], at + n + 1),
            None if last => (rest, data.len()),
            None => return Read::Incomplete,
        };
        let extent = Extent::of(data, at, next);
        if text.is_empty() || text.starts_with(b"#") {
            return Read::Taken(extent);
        }
        if let Err(fault) = output.check(data, at, at + text.len()) {
            return Read::Bad(Fault::new("invalid_utf8", "not UTF-8", fault));
        }
        let line = std::str::from_utf8(text).unwrap();
        let Some((table, (key, value))) =
            line.split_once(' ').and_then(|(table, rest)| Some((table, rest.split_once('=')?)))
        else {
            return Read::Bad(Fault::new("bad_line", "no key and value", at));
        };
        let from = at + line.len() - value.len();
        let id = TableId::new(table);
        let Ok(number) = value.parse::<i64>() else {
            return Read::Refused(extent, text.len(), Fault::new("bad_integer", "no integer", from));
        };
        let mut add = || {
            let table = output.tables.open(&id)?;
            let column = output.tables.add(table, Column::new(key, DataType::Int64), Rule::Infer)?;
            let cell = Cell::new(Kind::Int(number), Str::Here(from, at + text.len()));
            if let Some(rows) = output.tables.get_mut(table) {
                rows.push(column, chunk, cell)?;
            }
            Ok(table)
        };
        match add() {
            Ok(table) => output.commit(table, at, text.len(), 0),
            Err(misfit) => return Read::Refused(extent, text.len(), Fault::of(misfit, &id, from)),
        }
        Read::Taken(extent)
    }
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    rows: BTreeMap<String, Vec<(Position, String, String)>>,
    rejects: Vec<Reject>,
    records: u64,
    end: Position,
}

impl Seen {
    fn flush(&mut self, decoder: &mut RecordDecoder<Toy>) {
        let decoded = decoder.flush().unwrap();
        for batch in decoded.batches {
            let rows = self.rows.entry(batch.table().name().to_owned()).or_default();
            for i in 0..batch.rows() {
                let raw = String::from_utf8(batch.origin().raw(i).unwrap().to_vec()).unwrap();
                let mut json = batch.row(i).to_json();
                json.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                rows.push((batch.origin().position(i).unwrap(), raw, json.to_string()));
            }
        }
        self.rejects.extend(decoded.rejects);
        self.records += decoded.counts.records;
    }
}

fn run(input: &[u8], cuts: &[usize], limits: Limits, slices: bool) -> Seen {
    let mut decoder = RecordDecoder::new(Toy, limits, Tables::new(Arc::default()));
    let mut seen = Seen::default();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
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
                seen.flush(&mut decoder);
            }
        }
    }
    decoder.finish().unwrap();
    seen.flush(&mut decoder);
    assert!(!decoder.has_partial_record());
    seen.end = decoder.position();
    assert_eq!(seen.end.byte, input.len() as u64);
    seen
}

#[test]
fn positions_and_rejects() {
    let seen = run("\u{feff}a x=1\n# c\n\nb y=2\r\nb y=\na x=3\nz".as_bytes(), &[], Limits::new(), false);
    let places: Vec<_> = seen.rows["a"]
        .iter()
        .map(|(p, raw, json)| (p.byte, p.line, p.record, raw.as_str(), json.as_str()))
        .collect();
    assert_eq!(places, [(3, 1, 1, "a x=1", r#"{"x":1}"#), (26, 6, 4, "a x=3", r#"{"x":3}"#)]);
    let rejects: Vec<_> = seen
        .rejects
        .iter()
        .map(|r| (r.code.as_str(), r.position.line, r.position.column, r.position.record, r.at))
        .collect();
    // The toy does not know CR.
    assert_eq!(
        rejects,
        [
            ("bad_integer", 4, 5, 2, Some(4)),
            ("bad_integer", 5, 5, 3, Some(4)),
            ("bad_line", 7, 1, 5, Some(0))
        ]
    );
}

#[test]
fn long_records_take_no_memory() {
    let mut decoder =
        RecordDecoder::new(Toy, Limits::new().with_max_record_bytes(1000), Tables::new(Arc::default()));
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..16 {
        assert_eq!(decoder.decode(&chunk).unwrap(), chunk.len());
        assert!(decoder.buffered_bytes() < 1 << 20);
    }
    decoder.decode(&"\na x=1\n".into()).unwrap();
    let decoded = decoder.flush().unwrap();
    assert_eq!(
        (decoded.rejects[0].code.as_str(), decoded.rejects[0].raw.len()),
        ("record_too_long", 64 << 10)
    );
    assert_eq!(decoded.batches[0].rows(), 1);
    assert_eq!(decoder.position(), Position { byte: (16 << 20) + 7, line: 3, column: 1, record: 2 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the input is cut, the same comes out.
    #[test]
    fn cuts(
        lines in prop::collection::vec("([ab] [xyz]=[0-9]{1,3}|#[a-z]{0,9}|[a-z= ]{0,40}|\u{e9}| )(\r?\n){0,2}", 0..30),
        cuts in prop::collection::vec(0usize..1000, 0..8),
        rows in 1usize..9,
        most in 1usize..40,
    ) {
        let input = lines.concat().into_bytes();
        let limits = || Limits::new().with_max_record_bytes(most);
        let whole = run(&input, &[], limits(), false);
        prop_assert_eq!(&run(&input, &cuts, limits().with_batch_rows(rows), false), &whole);
        prop_assert_eq!(&run(&input, &cuts, limits().with_batch_rows(rows), true), &whole);
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&run(&input, &every, limits(), true), &whole);
        prop_assert_eq!(&run(&input, &every, limits().with_batch_bytes(rows * 5), false), &whole);
        prop_assert_eq!(whole.records as usize, whole.rejects.len() + whole.rows.values().map(Vec::len).sum::<usize>());
    }
}
