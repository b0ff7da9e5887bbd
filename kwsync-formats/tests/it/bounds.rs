//! Input that means harm: memory stays flat, and time grows in line with size. Sizes are small enough for every run;
//! `dev/soak` has the full ones.

use std::time::Duration;

use bytes::{Buf, Bytes};
use kwsync_core::Decoder;
use kwsync_formats::Limits;
use kwsync_formats::delimited::{DelimitedDecoder, DelimitedOptions, Header, ReadOptions, Types};
use kwsync_formats::influx::{Dialect, LineDecoder, LineOptions};
use kwsync_formats::opentsdb::{TelnetDecoder, TelnetOptions};

const LIMIT: usize = 1 << 20;

/// Feeds `chunk` so many times. Rows, rejects by code, and the most bytes that were held.
fn feed(decoder: &mut dyn Decoder, chunk: &Bytes, times: usize) -> (usize, Vec<String>, usize) {
    let (mut rows, mut rejects, mut most) = (0, Vec::new(), 0);
    let mut flush = |decoder: &mut dyn Decoder, most: &mut usize| {
        *most = (*most).max(decoder.buffered_bytes());
        let decoded = decoder.flush().unwrap();
        rows += decoded.batches.iter().map(|batch| batch.rows()).sum::<usize>();
        rejects.extend(decoded.rejects.into_iter().map(|reject| reject.code));
    };
    for _ in 0..times {
        let mut chunk = chunk.clone();
        while !chunk.is_empty() {
            let used = decoder.decode(&chunk).unwrap();
            chunk.advance(used);
            if decoder.wants_flush() {
                flush(decoder, &mut most);
            }
        }
        most = most.max(decoder.buffered_bytes());
    }
    decoder.finish().unwrap();
    flush(decoder, &mut most);
    (rows, rejects, most)
}

fn decoders() -> Vec<(&'static str, Box<dyn Decoder>)> {
    let limits = || Limits::new().with_max_record_bytes(LIMIT).with_batch_bytes(4 << 20);
    let line = |dialect| {
        let options = LineOptions::default().with_dialect(dialect).with_max_line_bytes(LIMIT);
        Box::new(LineDecoder::new(options.with_batch_bytes(4 << 20))) as Box<dyn Decoder>
    };
    let delimited = |options: DelimitedOptions| {
        let read = ReadOptions::new().with_limits(limits()).with_types(Types::Text);
        Box::new(DelimitedDecoder::new(options, read).unwrap()) as Box<dyn Decoder>
    };
    vec![
        ("influx", line(Dialect::Influx)),
        ("kwdb", line(Dialect::Kwdb)),
        ("tdengine", line(Dialect::Tdengine)),
        ("telnet", Box::new(TelnetDecoder::new(TelnetOptions::new().with_limits(limits())))),
        ("text", delimited(DelimitedOptions::text())),
        ("csv", delimited(DelimitedOptions::csv())),
        ("csv with an escape", delimited(DelimitedOptions::csv().with_escape(Some(b'\\')))),
    ]
}

#[test]
fn a_line_without_an_end() {
    for (name, mut decoder) in decoders() {
        let (rows, rejects, most) = feed(decoder.as_mut(), &Bytes::from(vec![b'a'; 512 << 10]), 128);
        assert_eq!((rows, rejects.len()), (0, 1), "{name}: {rejects:?}");
        assert!(rejects[0].ends_with("_too_long"), "{name}: {rejects:?}");
        assert!(most < 8 * LIMIT, "{name} held {most} bytes");
    }
}

#[test]
fn quotes_and_escapes_without_an_end() {
    for piece in ["\"", "\\", "m f=\"", "\"\n", "a,\"b\n", ",", "\t", "\r", "\\\n", "L\"", "put "] {
        let chunk = Bytes::from(piece.repeat((128 << 10) / piece.len()));
        for (name, mut decoder) in decoders() {
            let (_, _, most) = feed(decoder.as_mut(), &chunk, 2);
            // A line of nothing but delimiters is a record of many fields, one of nothing but line ends many rows.
            assert!(most < 64 * LIMIT, "{name} held {most} bytes of {piece:?}");
        }
    }
}

#[test]
fn columns_tables_and_tags_without_number() {
    let columns: String = (0..300_000).map(|n| format!("m f{n}=1\n")).collect();
    let tables: String = (0..200_000).map(|n| format!("m{n} f=1\n")).collect();
    let mut decoder = LineDecoder::new(LineOptions::default());
    let (rows, rejects, _) = feed(&mut decoder, &Bytes::from(columns), 1);
    assert_eq!((rows, rejects.len()), (4096, 295_904));
    assert!(rejects.iter().all(|code| code == "too_many_columns"));
    let (rows, rejects, _) = feed(&mut LineDecoder::new(LineOptions::default()), &Bytes::from(tables), 1);
    assert_eq!((rows, rejects.len()), (65_536, 134_464));
    assert!(rejects.iter().all(|code| code == "too_many_tables"));
    let metrics: String = (0..200_000).map(|n| format!("m{n} 1 1 t{n}=a\n")).collect();
    let (rows, rejects, _) = feed(&mut TelnetDecoder::new(TelnetOptions::new()), &Bytes::from(metrics), 1);
    assert_eq!((rows, rejects.len()), (65_536, 134_464));
    let tags: String = (0..200_000).map(|n| format!("m 1 1 t{n}=a\n")).collect();
    let (rows, rejects, _) = feed(&mut TelnetDecoder::new(TelnetOptions::new()), &Bytes::from(tags), 1);
    assert!(rejects.iter().all(|code| code == "too_many_columns"), "{:?}", rejects.first());
    assert_eq!(rows + rejects.len(), 200_000);
    let header: String = (0..100_000).map(|n| format!("c{n},")).collect();
    let options = DelimitedOptions::csv().with_header(Header::Names);
    let mut decoder = DelimitedDecoder::new(options, ReadOptions::new()).unwrap();
    let (rows, rejects, _) = feed(&mut decoder, &Bytes::from(format!("{header}x\n1,2\n")), 1);
    assert_eq!((rows, rejects), (0, vec!["too_many_columns".to_owned()]));
}

/// CPU time of this thread, where the system tells it: other work on the machine does not count.
fn now() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap_or_default(), Duration::from_nanos)
}

/// Time for `size` bytes, the best of three.
fn took(make: &dyn Fn() -> Box<dyn Decoder>, piece: &str, size: usize) -> Duration {
    let chunk = Bytes::from(piece.repeat(size / piece.len()));
    let once = |_| {
        std::thread::yield_now();
        let began = now();
        feed(make().as_mut(), &chunk, 1);
        std::thread::yield_now();
        now().saturating_sub(began)
    };
    (0..3).map(once).min().unwrap()
}

#[test]
fn time_grows_in_line_with_size() {
    let count = decoders().len();
    for piece in ["\"", "\\", "m f=\"x\n", "a,\"b\n", "m f=1i 1\n", "put m 1 1 a=b\n", ",\"", "\r", "\\\"\n"]
    {
        for index in 0..count {
            let make = || decoders().swap_remove(index).1;
            let (small, large) = (took(&make, piece, 128 << 10), took(&make, piece, 1 << 20));
            // Eight times the size; quadratic would be sixty-four. A small one may be too quick to measure.
            let bound = small.max(Duration::from_millis(4)) * 32;
            assert!(large < bound, "{}: {small:?}, then {large:?} of {piece:?}", decoders()[index].0);
        }
    }
}
