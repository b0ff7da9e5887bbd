//! Messages in a buffer that they share are read as messages by themselves.

use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{Decoder, Input, Position, Value};

use super::{LineDecoder, LineOptions};

/// Rows and rejects, each with its message and its place.
fn read(messages: &[&[u8]], shared: bool, dialect: super::Dialect) -> Vec<String> {
    let mut buffer = Vec::new();
    let ranges: Vec<_> = messages
        .iter()
        .map(|message| {
            let start = buffer.len();
            buffer.extend_from_slice(message);
            let end = buffer.len();
            buffer.push(if message.last() == Some(&b'\r') { 0 } else { b'\n' });
            start..end
        })
        .collect();
    buffer.extend_from_slice(&[b'"'; 64]);
    let buffer = Bytes::from(buffer);
    let mut decoder = LineDecoder::new(LineOptions::default().with_dialect(dialect));
    for (number, range) in ranges.into_iter().enumerate() {
        let at = Position { byte: 0, line: 1, column: 1, record: 0 };
        decoder.begin(Arc::new(Input::new(format!("message {number}"))), at);
        let message = buffer.slice(range.clone());
        if shared {
            let taken = decoder.decode_message(&message, &buffer.slice(range.start..)).unwrap();
            assert_eq!(taken, message.len());
        } else {
            assert_eq!(decoder.decode(&message).unwrap(), message.len());
            decoder.end_record().unwrap();
        }
        assert!(!decoder.has_partial_record());
    }
    let decoded = decoder.flush().unwrap();
    let mut found = Vec::new();
    for batch in &decoded.batches {
        for row in 0..batch.rows() {
            let origin = batch.origin();
            let shown = |column| match batch.row(row).at(column).unwrap() {
                // Filled in.
                Value::Timestamp(at, ..) if at > 1_750_000_000_000_000_000 => "now".to_owned(),
                value => format!("{value:?}"),
            };
            let values: Vec<String> = (0..batch.schema().columns().len()).map(shown).collect();
            found.push(format!(
                "{} {:?} {:?} {:?} {values:?}",
                batch.table(),
                origin.input(row).map(|input| input.name().to_owned()),
                origin.position(row),
                origin.raw(row).map(String::from_utf8_lossy),
            ));
        }
    }
    for reject in &decoded.rejects {
        found.push(format!("{} {:?} {} {:?}", reject.split, reject.position, reject.code, reject.raw));
    }
    found
}

#[test]
fn messages_of_one_buffer_are_read_by_themselves() {
    let long = format!("m,host=a s=\"{}\",n=2i 5", "x".repeat(300));
    let messages: Vec<&[u8]> = vec![
        b"m,host=a n=1i,f=1.5 1700000000000000000",
        b"m,host=b n=2i,f=2.5 1700000000000000001",
        b"m,host=c n=3i,f=3.5 1700000000000000002",
        b"",
        b"m,host=d n=4i,f=4.5",
        b"m,host=e n=5i,f=5.5 1\nm,host=e n=6i,f=6.5 2\n",
        b"m,host=f n=7i,f=7.5 3\r\nm,host=f n=8i,f=8.5 4\r",
        // What one leaves open must not go on in the next.
        b"m,host=g s=\"open",
        b"m,host=h s=\"closed\",n=1i 5",
        b"m,host=h s=\"closed\",n=",
        b"2i 6",
        b"m,host=i s=\"two\nlines\",n=1i 7",
        b"m,host=j n=9",
        b"# a comment",
        b"# a comment\nm,host=k n=10i,f=1 8",
        b"\xff\xfe",
        b"m,host=\xff n=1i 9",
        b"\xef\xbb\xbfm,host=l n=11i,f=1 10",
        b"m,host=m n=oops 11\nm,host=m n=12i 12",
        b"m,host=n s=\"back\\\\",
        b"m,host=o s=\"esc\\\"aped\" 13",
        long.as_bytes(),
        b"m,host=p n=1i,f=1.5 17000000000000000",
        b"\r",
        b"\n\n",
        b"m,host=q n=1i,f=1.5 1700000000000000003",
    ];
    for dialect in [super::Dialect::Influx, super::Dialect::Kwdb, super::Dialect::Tdengine] {
        assert_eq!(read(&messages, true, dialect), read(&messages, false, dialect), "{dialect:?}");
        // In any neighbourhood.
        for first in &messages {
            for second in &messages {
                let pair = [*first, *second, *first, b"m,host=z n=1i,f=1.5 1"];
                assert_eq!(read(&pair, true, dialect), read(&pair, false, dialect), "{pair:?}");
            }
        }
    }
}

/// A bound of rows that is reached within a message leaves its rest for later.
#[test]
fn a_bound_within_a_message_leaves_the_rest() {
    let text = "m n=1i 1\nm n=2i 2\nm n=3i 3";
    let message = Bytes::from(text);
    let window = Bytes::from(format!("{text}\n{}", "\0".repeat(64)));
    let mut decoder = LineDecoder::new(LineOptions::default().with_batch_rows(2));
    let taken = decoder.decode_message(&message, &window).unwrap();
    assert!(decoder.wants_flush() && taken == 18, "{taken}");
    assert_eq!(decoder.flush().unwrap().batches[0].rows(), 2);
    let rest = decoder.decode_message(&message.slice(taken..), &window.slice(taken..)).unwrap();
    assert_eq!((rest, decoder.flush().unwrap().batches[0].rows()), (message.len() - taken, 1));
    assert!(!decoder.has_partial_record());
}
