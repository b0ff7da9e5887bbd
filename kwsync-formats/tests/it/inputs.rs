//! Random inputs: valid lines, mutated lines, byte soup.

use proptest::prelude::*;

/// A name in its written form. `special` are escaped.
fn name(special: &'static str) -> impl Strategy<Value = String> {
    let chars = prop_oneof![
        6 => proptest::char::range('a', 'e'),
        1 => Just('='), 1 => Just(','), 1 => Just(' '), 1 => Just('\\'), 1 => Just('"'), 1 => Just('é'),
        1 => Just('#'), 1 => Just('日'),
    ];
    proptest::collection::vec(chars, 1..20).prop_map(move |chars| {
        let mut out = String::new();
        for c in chars {
            // A name must not end in a backslash.
            if special.contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        if out.ends_with('\\') {
            out.push('x');
        }
        if out.starts_with('#') {
            out.insert(0, 'm');
        }
        out
    })
}

fn plain() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", "[a-c][0-9]", "host_[0-9]{1,4}", "[a-z]{10,40}"]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![5 => plain(), 1 => name(",= ")]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z ]{1,20}", 1 => Just("\\\"".to_owned()), 1 => Just("\\\\".to_owned()),
        1 => Just("\n".to_owned()), 1 => Just("\r\n".to_owned()), 1 => Just("\\n".to_owned()),
        1 => Just("é,= ".to_owned()), 1 => Just("\u{0}\u{1f}".to_owned()),
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A field value as written.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<i64>().prop_map(|v| format!("{v}i")),
        3 => (-200i64..200).prop_map(|v| format!("{v}i")),
        1 => any::<u64>().prop_map(|v| format!("{v}u")),
        2 => any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:e}")),
        3 => (-1000i32..1000, 0u32..100_000).prop_map(|(a, b)| format!("{a}.{b}")),
        2 => (0.0f64..1.0).prop_map(|v| format!("{v}")),
        1 => "-?[0-9]{1,25}(\\.[0-9]{0,25})?([eE][+-]?[0-9]{1,2})?",
        1 => "-?\\.[0-9]{1,20}",
        1 => "(t|T|true|True|TRUE|f|F|false|False|FALSE)",
        3 => string(),
    ]
}

fn timestamp() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just(String::new()),
        4 => (1_600_000_000_000_000_000i64..1_800_000_000_000_000_000).prop_map(|t| format!(" {t}")),
        1 => any::<i64>().prop_map(|t| format!(" {t}")),
    ]
}

/// A line that should be read, unless keys repeat.
pub(crate) fn line() -> impl Strategy<Value = String> {
    let tags = proptest::collection::vec((key(), key()), 0..6);
    let fields = proptest::collection::vec((key(), value()), 1..8);
    let measurement = prop_oneof![4 => "(cpu|mem|disk)", 1 => name(", ")];
    let end = prop_oneof![6 => Just("\n"), 1 => Just("\r\n"), 1 => Just(" \n"), 1 => Just("\n\n"), 1 => Just("\n# \"c\n")];
    (measurement, tags, fields, timestamp(), end).prop_map(|(measurement, tags, fields, timestamp, end)| {
        let tags: String = tags.iter().map(|(k, v)| format!(",{k}={v}")).collect();
        let fields: Vec<_> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("{measurement}{tags} {}{timestamp}{end}", fields.join(","))
    })
}

/// Lines of few shapes with random values, as real files have them.
pub(crate) fn shaped() -> impl Strategy<Value = String> {
    let number = || prop_oneof![8 => "-?[0-9]{1,3}", 1 => "[0-9]{8,19}"];
    let float = || prop_oneof!["-?[0-9]{1,3}\\.[0-9]{1,4}", "0\\.[0-9]{16,17}", "[0-9]"];
    let ts = || 1_600_000_000_000_000_000i64..1_700_000_000_000_000_000;
    prop_oneof![
        4 => (0..40u32, number(), number(), ts())
            .prop_map(|(h, a, b, t)| format!("cpu,hostname=host_{h},region=eu-central-1 user={a}i,system={b}i {t}\n")),
        2 => (0..40u32, float(), float(), ts())
            .prop_map(|(h, a, b, t)| format!("readings,name=truck_{h} latitude={a},longitude={b} {t}\n")),
        1 => (string(), float()).prop_map(|(s, f)| format!("log,app=x message={s},took={f}\n")),
        1 => (key(), float()).prop_map(|(k, f)| format!("wide,app={k} {k}={f}\n")),
        1 => (number(), value(), ts()).prop_map(|(a, v, t)| format!("cpu,hostname=h user={a}i,system={v} {t}\r\n")),
    ]
}

/// Many lines, one after another.
pub(crate) fn lines() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![1 => line(), 2 => shaped()];
    proptest::collection::vec(one, 0..20).prop_map(|lines| lines.concat().into_bytes())
}

/// Lines with some bytes changed, removed, doubled or put in.
pub(crate) fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::sample::select(b"\" ,=\\\n\r\t\x00#0-.eiutf\xff\xc3\x7f".as_slice());
    let change = (any::<proptest::sample::Index>(), bytes, 0..4u8);
    (lines(), proptest::collection::vec(change, 0..6)).prop_map(|(mut input, changes)| {
        for (at, byte, how) in changes {
            if input.is_empty() {
                break;
            }
            let at = at.index(input.len());
            match how {
                0 => input[at] = byte,
                1 => input.insert(at, byte),
                2 => drop(input.remove(at)),
                _ => input.truncate(at),
            }
        }
        input
    })
}

/// Pieces of syntax in any order.
pub(crate) fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"m",
        b",",
        b"=",
        b" ",
        b"\n",
        b"\r\n",
        b"\r",
        b"\"",
        b"\\",
        b"\\\"",
        b"f=1",
        b" f=\"",
        b"\",",
        b"t=a",
        b"1i",
        b"-",
        b".",
        b"1e",
        b"true",
        b"t",
        b"#",
        b"\t",
        b"\x00",
        b"\xff",
        b"\xc3\xa9",
        b"9223372036854775808",
        b"m f=1 1\n",
        b"\xef\xbb\xbf",
        b"m,t=a f=\"",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

/// Any of the above.
pub(crate) fn any_input() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![lines(), mutated(), soup(), proptest::collection::vec(any::<u8>(), 0..80)]
}
