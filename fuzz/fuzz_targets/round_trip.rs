//! What a format reads and can write, it reads again as the same row. The first byte of the input picks the format. A
//! row that the format cannot write (a time beyond its precision, a name that it has no way to spell) is passed over.
#![no_main]

use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use kwsync_core::config::{Dsn, OpenOptions, Registry};
use kwsync_core::{Decoded, TableBatch};
use libfuzzer_sys::fuzz_target;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry::new();
    kwsync_formats::register(&mut registry);
    registry
});

const FORMATS: [(&str, &str); 10] = [
    ("line_influxdb", ""),
    ("line_influxdb", "?dialect=kwdb"),
    ("line_influxdb", "?dialect=tdengine"),
    ("line_opentsdb", ""),
    ("json_opentsdb", ""),
    ("json_kaiwudb", ""),
    ("json", ""),
    ("csv", "?types=text&header=true"),
    ("text", "?types=text"),
    ("csv", "?types=text&escape=%5C&null=NULL"),
];

fn read(format: (&str, &str), input: &[u8]) -> Option<Decoded> {
    let dsn: Dsn = format!("file:x{}", format.1).parse().expect("an address");
    let mut decoder = REGISTRY.decoder(format.0, &dsn, &OpenOptions::new()).expect("a format")().expect("a decoder");
    let mut input = Bytes::copy_from_slice(input);
    while !input.is_empty() {
        let used = decoder.decode(&input).ok()?;
        input.advance(used);
        if decoder.wants_flush() {
            return None;
        }
    }
    decoder.finish().ok()?;
    decoder.flush().ok()
}

/// Rows with their tables, times that were missing apart.
fn rows(batches: &[TableBatch]) -> Vec<String> {
    let of = |batch: &TableBatch| {
        let name = batch.table().to_string();
        (0..batch.rows()).map(move |row| format!("{name} {}", kwsync_fuzz::json(batch, row))).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

fuzz_target!(|input: &[u8]| {
    let [which, input @ ..] = input else { return };
    let Some(format) = FORMATS.get(usize::from(*which) % FORMATS.len()).copied() else { return };
    if input.len() > 4096 {
        return;
    }
    let Some(first) = read(format, input) else { return };
    let dsn: Dsn = format!("file:x{}", format.1).parse().expect("an address");
    for batch in &first.batches {
        for row in 0..batch.rows() {
            let mut out = Vec::new();
            let mut encoder =
                REGISTRY.encoder(format.0, &dsn, &OpenOptions::new()).expect("a format")().expect("an encoder");
            let written = encoder.begin(&mut out).and_then(|()| encoder.encode(batch, row..row + 1, &mut out));
            if written.and_then(|()| encoder.end(&mut out)).is_err() {
                continue;
            }
            let shown = String::from_utf8_lossy(&out).into_owned();
            let again = read(format, &out).unwrap_or_else(|| panic!("{shown:?} cannot be read"));
            assert!(again.rejects.is_empty(), "{shown:?}: {:?}", again.rejects);
            let expected = format!("{} {}", batch.table(), kwsync_fuzz::json(batch, row));
            assert_eq!(rows(&again.batches), [expected], "{shown:?}");
        }
    }
});
