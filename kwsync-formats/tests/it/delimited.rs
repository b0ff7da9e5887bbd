//! TEXT and CSV: round trips under any options and any cutting, and rows of the table in docs/formats.md.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use kwsync_core::{
    Column, DataType, Decoder, Encoder, ErrorKind, Position, Schema, SchemaRegistry, TableBatch, TimeUnit,
    Value,
};
use kwsync_formats::delimited::{
    Columns, DelimitedDecoder, DelimitedEncoder, DelimitedOptions, Form, Header, Newline, ReadOptions, Types,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

type OutRow = (Position, Vec<u8>, BTreeMap<String, Value<'static>>);

#[derive(Debug, PartialEq, Default)]
struct Output {
    rows: Vec<OutRow>,
    rejects: Vec<(Position, String, Bytes, Option<u32>)>,
    schema: Vec<(String, String)>,
    end: Position,
}

fn decode(input: &[u8], cuts: &[usize], mut decoder: DelimitedDecoder, slices: bool) -> Output {
    let mut output = Output::default();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(input.len())).collect();
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
                flush(&mut decoder, &mut output);
            }
        }
    }
    decoder.finish().unwrap();
    flush(&mut decoder, &mut output);
    output.end = decoder.position();
    assert_eq!(output.end.byte, input.len() as u64);
    output
}

fn flush(decoder: &mut DelimitedDecoder, output: &mut Output) {
    let decoded = decoder.flush().unwrap();
    for batch in decoded.batches {
        let columns = batch.schema().columns();
        output.schema = columns.iter().map(|c| (c.name().to_owned(), c.data_type().to_string())).collect();
        for row in 0..batch.rows() {
            let values = columns
                .iter()
                .map(|c| (c.name().to_owned(), batch.row(row).get(c.name()).unwrap().into_owned()));
            let raw = batch.origin().raw(row).unwrap().to_vec();
            output.rows.push((batch.origin().position(row).unwrap(), raw, values.collect()));
        }
    }
    output.rejects.extend(decoded.rejects.into_iter().map(|r| (r.position, r.code, r.raw, r.at)));
}

fn decoder(options: &DelimitedOptions, read: ReadOptions) -> DelimitedDecoder {
    DelimitedDecoder::new(options.clone(), read).unwrap()
}

fn options() -> impl Strategy<Value = DelimitedOptions> {
    let newline = prop_oneof![Just(Newline::Auto), Just(Newline::Lf), Just(Newline::Cr), Just(Newline::CrLf)];
    let header = prop_oneof![Just(Header::None), Just(Header::Names), Just(Header::Match)];
    let csv = (
        prop_oneof![Just(b','), Just(b';'), Just(b'\t'), Just(b'|'), Just(1u8)],
        prop_oneof![Just(String::new()), Just("NULL".to_owned()), Just("\\N".to_owned())],
        prop_oneof![Just(b'"'), Just(b'\'')],
        prop_oneof![Just(None), Just(Some(b'\\'))],
        any::<bool>(),
    )
        .prop_map(|(delimiter, null, quote, escape, force)| {
            let options = DelimitedOptions::csv()
                .with_delimiter(Some(delimiter))
                .with_null(null)
                .with_quote(Some(quote));
            let options = if force { options.with_force_quote(Columns::All) } else { options };
            match escape {
                Some(escape) => options.with_escape(Some(escape)),
                None => options,
            }
        });
    let text = (
        prop_oneof![Just(b'\t'), Just(b','), Just(b'|'), Just(b'N'), Just(b' ')],
        prop_oneof![Just("\\N"), Just("null"), Just("a")],
        prop_oneof![Just(b'\\'), Just(b'~')],
    )
        .prop_map(|(delimiter, null, escape)| {
            DelimitedOptions::text().with_delimiter(Some(delimiter)).with_null(null).with_escape(Some(escape))
        });
    (prop_oneof![csv, text], header, newline)
        .prop_map(|(options, header, newline)| options.with_header(header).with_newline(newline))
        .prop_filter("options that go together", |options| options.clone().check().is_ok())
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("text", DataType::Text),
        Column::new("a, \"b\"\\", DataType::Text),
        Column::new("int", DataType::Int64),
        Column::new("float", DataType::Float64),
        Column::new("single", DataType::Float32),
        Column::new("flag", DataType::Bool),
        Column::new("bytes", DataType::Bytes),
        Column::new("at", DataType::TimestampTz(TimeUnit::Microsecond)),
        Column::new("local", DataType::Timestamp(TimeUnit::Nanosecond)),
        Column::new("day", DataType::Date),
        Column::new("small", DataType::Int16),
        Column::new("money", DataType::Numeric(Some((10, 2)))),
        Column::new("id", DataType::Uuid),
    ]
}

fn row() -> impl Strategy<Value = Vec<Value<'static>>> {
    let text = || {
        prop_oneof![
            4 => "[a-cN,;|'\"\\\\~ \t\r\n\u{1}é.]{0,8}",
            1 => Just("\\N".to_owned()), 1 => Just("NULL".to_owned()), 1 => Just("\\.".to_owned()),
            1 => Just("null".to_owned()), 1 => Just("a".to_owned()), 1 => Just(String::new()), 1 => Just("\u{8}\u{b}\u{c}".to_owned()),
        ]
        .prop_map(|text| Value::Text(text.into()))
        .boxed()
    };
    let micros = -90_000_000_000_000_000i64..90_000_000_000_000_000;
    let values: Vec<BoxedStrategy<Value<'static>>> = vec![
        text(),
        text(),
        any::<i64>().prop_map(Value::Int).boxed(),
        any::<f64>().prop_filter("not NaN", |v| !v.is_nan()).prop_map(Value::Float64).boxed(),
        any::<f32>().prop_filter("not NaN", |v| !v.is_nan()).prop_map(Value::Float32).boxed(),
        any::<bool>().prop_map(Value::Bool).boxed(),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| Value::Bytes(v.into())).boxed(),
        micros.prop_map(|v| Value::Timestamp(v, TimeUnit::Microsecond, true)).boxed(),
        any::<i64>().prop_map(|v| Value::Timestamp(v, TimeUnit::Nanosecond, false)).boxed(),
        (-2_000_000i32..2_000_000).prop_map(Value::Date).boxed(),
        any::<i16>().prop_map(|v| Value::Int(v.into())).boxed(),
        (-9_999_999_999i64..9_999_999_999)
            .prop_map(|v| Value::Decimal(arrow_buffer::i256::from_i128(v.into()), 2))
            .boxed(),
        any::<[u8; 16]>().prop_map(|v| Value::Bytes(v.to_vec().into())).boxed(),
    ];
    values
        .into_iter()
        .map(|value| prop_oneof![4 => value, 1 => Just(Value::Null)].boxed())
        .collect::<Vec<_>>()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn read_back(
        options in options(),
        rows in prop::collection::vec(row(), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        size in 1usize..8,
    ) {
        let schema = Arc::new(Schema::new(columns()).unwrap());
        let batch = TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap();
        let mut written = Vec::new();
        let mut encoder = DelimitedEncoder::new(options.clone()).unwrap();
        // A value that these options cannot tell from a null is refused; then so is the row.
        let mut kept = Vec::new();
        for row in 0..batch.rows() {
            match encoder.encode(&batch, row..row + 1, &mut written) {
                Ok(()) => kept.push(row),
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Data);
                    prop_assert_eq!(error.code(), Some("reads_as_null"));
                }
            }
        }
        let shown = format!("{options:?} {}", String::from_utf8_lossy(&written).escape_debug());
        let limits = kwsync_formats::Limits::new().with_batch_rows(size);
        let read = || ReadOptions::new().with_schema(&schema).with_table("t").with_limits(limits.clone());
        let whole = decode(&written, &[], decoder(&options, read()), false);
        prop_assert_eq!(&whole.rejects, &[], "{}", &shown);
        prop_assert_eq!(whole.rows.len(), kept.len(), "{}", &shown);
        for (row, (_, _, values)) in kept.iter().zip(&whole.rows) {
            for column in schema.columns() {
                let expected = batch.row(*row).get(column.name()).unwrap();
                prop_assert_eq!(&values[column.name()], &expected, "{} of {}", column.name(), &shown);
            }
        }
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(written.len() + 1)).collect();
        prop_assert_eq!(&decode(&written, &cuts, decoder(&options, read()), true), &whole, "{}", &shown);
        let every: Vec<usize> = (0..written.len()).collect();
        prop_assert_eq!(&decode(&written, &every, decoder(&options, read()), false), &whole, "{}", &shown);
    }

    /// Whatever the bytes are, where they are cut makes no difference.
    #[test]
    fn any_bytes(
        options in options(),
        input in prop::collection::vec(prop_oneof![
            Just(b'\n'), Just(b'\r'), Just(b'"'), Just(b'\''), Just(b'\\'), Just(b','), Just(b'\t'), Just(b'a'),
            Just(b'1'), Just(b'.'), Just(b'N'), Just(b'~'), Just(0xffu8),
        ], 0..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        infer in any::<bool>(),
    ) {
        let options = if options.form() == Form::Csv { options.with_header(Header::None) } else { options.with_header(Header::Names) };
        let types = if infer { Types::Infer } else { Types::Text };
        let read = || ReadOptions::new().with_types(types);
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        let run = |cuts: &[usize], slices| {
            std::panic::catch_unwind(|| decode(&input, cuts, decoder(&options, read()), slices)).ok()
        };
        // A header with a name twice is an error, and no cutting changes that.
        let whole = run(&[], false);
        prop_assert_eq!(&run(&cuts, false), &whole, "{:?}", &options);
        prop_assert_eq!(&run(&cuts, true), &whole, "{:?}", &options);
    }
}

/// The values of all rows as text, or the code of the first reject or error.
fn fields(options: DelimitedOptions, input: &[u8]) -> String {
    let read = ReadOptions::new().with_types(Types::Text);
    fields_of(options, read, input)
}

fn fields_of(options: DelimitedOptions, read: ReadOptions, input: &[u8]) -> String {
    let mut decoder = DelimitedDecoder::new(options, read).unwrap();
    let done = decoder.decode(&Bytes::copy_from_slice(input)).and_then(|_| decoder.finish());
    if let Err(error) = done {
        return error.code().unwrap_or("error").to_owned();
    }
    let decoded = decoder.flush().unwrap();
    let mut lines: Vec<String> = Vec::new();
    for batch in &decoded.batches {
        for row in 0..batch.rows() {
            let values =
                (0..batch.schema().columns().len()).map(|column| match batch.row(row).at(column).unwrap() {
                    Value::Null => "<null>".to_owned(),
                    value => value.to_string(),
                });
            lines.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    lines.extend(decoded.rejects.iter().map(|reject| reject.code.clone()));
    lines.join("\n")
}

fn csv() -> DelimitedOptions {
    DelimitedOptions::csv()
}

fn text() -> DelimitedOptions {
    DelimitedOptions::text()
}

#[test]
fn csv_to_the_letter() {
    for (options, input, expected) in [
        (csv(), "a,b\n", "a|b"),
        (csv(), "a,b", "a|b"),
        (csv(), "a,\n", "a|<null>"),
        (csv(), "a,\"\"\n", "a|"),
        (csv(), "\"a\"\"b\",\"c\nd\"\n", "a\"b|c\nd"),
        (csv(), "a\"b,c\"d,e\n", "ab,cd|e"),
        (csv(), "\"a\" ,b\n", "a |b"),
        (csv(), "a,b\nc\n", "a|b\nmissing_field"),
        (csv(), "a\nb,c\n", "a\nextra_field"),
        (csv(), "a,b\n\"c,d\ne,f\n", "a|b\ne|f\nunterminated_quote"),
        (csv(), "a,b\r\nc,d\r\n", "a|b\nc|d"),
        (csv(), "a,b\nc\r,d\n", "a|b\nliteral_carriage_return"),
        (csv(), "a,b\r\nc,d\n", "a|b\nliteral_newline"),
        (csv(), "a\rb\r", "a\nb"),
        (csv(), "a\n\\.\nb\n", "a\nafter_end_marker"),
        (csv().with_null("NULL"), "NULL,\"NULL\",\n", "<null>|NULL|"),
        (csv().with_force_not_null(Columns::All), "a,\n", "a|"),
        (csv().with_force_null(Columns::Named(vec!["c2".to_owned()])), "\"\",\"\"\n", "|<null>"),
        (csv().with_escape(Some(b'\\')), "\"a\\\"b\\\\c\\d\"\n", "a\"b\\c\\d"),
        (
            csv().with_escape(Some(b'\\')),
            "a\n\\\"\n\\\"\nb\n",
            "a\nb\nunterminated_quote\nunterminated_quote",
        ),
        (csv().with_newline(Newline::Cr), "a\rb\nc\rd\r", "a\nd\nliteral_newline"),
        (csv().with_quote(None), "a\"b,\"c\n", "a\"b|\"c"),
        (csv().with_delimiter(None), "a,b\n", "a,b"),
        (csv().with_fill_missing_fields(true), "a,b\nc\n", "a|b\nc|<null>"),
        (csv().with_header(Header::Names), "x,y\n1,2\n", "1|2"),
        (csv().with_delimiter(Some(1)), "a\u{1}b\n", "a|b"),
    ] {
        assert_eq!(fields(options.clone(), input.as_bytes()), expected, "{input:?} {options:?}");
    }
}

#[test]
fn text_to_the_letter() {
    for (options, input, expected) in [
        (text(), "a\tb\n", "a|b"),
        (text(), "a\t\n", "a|"),
        (text(), "a\t\\N\n", "a|<null>"),
        (text(), "a\t\\\\N\n", "a|\\N"),
        (text(), "\\b\\f\\n\\r\\t\\v\\\\\\q\n", "\u{8}\u{c}\n\r\t\u{b}\\q"),
        (text(), "\\101\\x41\\x4\\1\n", "AA\u{4}\u{1}"),
        (text(), "a\\\nb\n", "a\nb"),
        (text(), "a\\\tb\n", "a\tb"),
        (text(), "\\377\n", "invalid_utf8"),
        (text(), "a\n\\.\n", "a"),
        (text(), "a\n\\.\nb\n", "a\nafter_end_marker"),
        (text(), "a\\.b\n", "end_marker"),
        (text(), "\"a\tb\"\n", "\"a|b\""),
        (text(), "a\tb\r\nc\td\r\n", "a|b\nc|d"),
        (text().with_null(""), "a\t\n", "a|<null>"),
        (text().with_escape(None), "a\\tb\\\tc\\N\n", "a\\tb\\|c\\N"),
        (text().with_escape(None), "\\N\n", "<null>"),
        (text().with_escape(Some(b'~')), "a~tb\\t\n", "a\tb\\t"),
        (text().with_delimiter(None), "a\tb\n", "a\tb"),
        (text().with_newline(Newline::Cr), "a\rb\r", "a\nb"),
    ] {
        assert_eq!(fields(options.clone(), input.as_bytes()), expected, "{input:?} {options:?}");
    }
}

#[test]
fn options_that_do_not_go_together() {
    for (options, expected) in [
        (csv().with_delimiter(Some(b'"')), "the delimiter and the quote are both '\"'"),
        (text().with_delimiter(Some(b'\\')), "TEXT cannot have '\\\\' as its delimiter"),
        (text().with_delimiter(Some(b'a')), "TEXT cannot have 'a' as its delimiter"),
        (csv().with_delimiter(Some(b'\n')), "the delimiter is one byte of ASCII and no line end, not '\\n'"),
        (csv().with_null("a,b"), "the text for null holds the delimiter ','"),
        (csv().with_null("\""), "the text for null holds the quote '\"'"),
        (csv().with_null("a\nb"), "the text for null may not hold a line end or NUL"),
        (text().with_quote(Some(b'"')), "TEXT has no quotes; use the format csv, or leave quote= out"),
        (text().with_force_quote(Columns::All), "force_quote, force_not_null and force_null are for CSV"),
    ] {
        assert_eq!(options.check().unwrap_err().message(), expected);
    }
    assert!(DelimitedDecoder::new(csv().with_header(Header::Match), ReadOptions::new()).is_err());
    assert!(csv().with_encoding("klingon").is_err());
}

#[test]
fn headers() {
    let named =
        |names: &[&str]| names.iter().fold(ReadOptions::new(), |read, name| read.with_column(*name, None));
    let matched = csv().with_header(Header::Match);
    assert_eq!(fields_of(matched.clone(), named(&["x", "y"]), b"x,y\n1,2\n"), "1|2");
    assert_eq!(fields_of(matched, named(&["y", "x"]), b"x,y\n1,2\n"), "header_mismatch");
    assert_eq!(fields(csv().with_header(Header::Names), b"x,x\n1,2\n"), "error");
    assert_eq!(fields(csv().with_header(Header::Names), b"x,\n1,2\n"), "error");
    // Types go by name.
    let read = ReadOptions::new().with_column("y", Some(DataType::Int16)).with_types(Types::Text);
    assert_eq!(fields_of(csv().with_header(Header::Names), read, b"x,y\n1,2\n3,z\n"), "1|2\ntype_conflict");
}

#[test]
fn types_told_from_the_first_records() {
    let input = "id,at,n,note,flag\n1,2023-08-11 12:00:00+02,1.5,x,t\n2,2023-08-11 12:00:01Z,2,,f\n";
    let options = csv().with_header(Header::Names);
    let output = decode(input.as_bytes(), &[3], decoder(&options, ReadOptions::new()), false);
    let types: Vec<&str> = output.schema.iter().map(|(_, data_type)| data_type.as_str()).collect();
    assert_eq!(types, ["i64", "timestamptz(us)", "f64", "text", "bool"]);
    let read = ReadOptions::new().with_time("at").with_precision(TimeUnit::Second);
    let output = decode(b"at,n\n1700000000,1\n", &[], decoder(&options, read), false);
    assert_eq!(output.schema[0].1, "timestamptz(s)");
    assert_eq!(output.rows[0].2["at"], Value::Timestamp(1_700_000_000, TimeUnit::Second, true));
    // Two inputs of one table, the second with its columns in another order.
    let registry = Arc::new(SchemaRegistry::new());
    let read = || ReadOptions::new().with_table("t");
    let first = decoder(&options, read()).with_registry(Arc::clone(&registry));
    decode(b"a,b\n1,x\n", &[], first, false);
    let second = decoder(&options, read()).with_registry(registry);
    let output = decode(b"b,a\n7,2\n", &[], second, false);
    assert_eq!(output.rows[0].2["b"], Value::Text("7".into()));
    assert_eq!(output.rows[0].2["a"], Value::Int(2));
}

#[test]
fn encodings() {
    let latin = csv().with_encoding("LATIN1").unwrap();
    assert_eq!(fields(latin.clone(), b"caf\xe9,\x80\n"), "café|\u{80}");
    let gbk = text().with_encoding("GBK").unwrap();
    // The second byte of the first character is a backslash.
    assert_eq!(fields(gbk, b"\x81\x5c\tb\n"), "乗|b");
    let sjis = csv().with_encoding("SJIS").unwrap();
    assert_eq!(fields(sjis.clone(), b"\x95\x5c,\"\x83\x7c\"\n"), "表|ポ");
    assert_eq!(fields(sjis.clone(), b"\xff\n"), "bad_encoding");
    let batch = TableBatch::from_rows(
        "t",
        Arc::new(Schema::new(vec![Column::new("a", DataType::Text)]).unwrap()),
        &[vec![Value::Text("表".into())], vec![Value::Text("é".into())]],
    )
    .unwrap();
    let mut out = Vec::new();
    DelimitedEncoder::new(sjis).unwrap().encode(&batch, 0..1, &mut out).unwrap();
    assert_eq!(out, b"\x95\x5c\n");
    let error = DelimitedEncoder::new(latin).unwrap().encode(&batch, 0..1, &mut out).unwrap_err();
    assert_eq!(error.code(), Some("not_in_encoding"));
}

#[test]
fn places_of_faults() {
    let input = b"a,b\n1,2\n\"x\ny\",2,3\n3,4\n";
    let output = decode(input, &[], decoder(&csv().with_header(Header::Names), ReadOptions::new()), false);
    let (position, code, raw, _) = &output.rejects[0];
    assert_eq!((position.line, position.column, code.as_str()), (4, 6, "extra_field"));
    assert_eq!(&raw[..], b"\"x\ny\",2,3");
    assert_eq!(output.rows[1].0.line, 5);
}

/// The options as COPY has them.
fn sql(options: &Spelled, reading: bool) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let Spelled { form, delimiter, null, quote, escape, header } = options;
    let mut all = vec![
        format!("FORMAT {form}"),
        format!("DELIMITER {}", quoted(&char::from(*delimiter).to_string())),
        format!("NULL {}", quoted(null)),
        format!(
            "HEADER {}",
            if *header && reading {
                "MATCH"
            } else if *header {
                "true"
            } else {
                "false"
            }
        ),
    ];
    if *form == "csv" {
        all.push(format!("QUOTE {}", quoted(&char::from(*quote).to_string())));
        all.push(format!("ESCAPE {}", quoted(&char::from(*escape).to_string())));
    }
    all.join(", ")
}

#[derive(Debug, Clone)]
struct Spelled {
    form: &'static str,
    delimiter: u8,
    null: &'static str,
    quote: u8,
    escape: u8,
    header: bool,
}

// In TEXT the server itself writes a value like the null text so that it reads as null: no value here is like it.
fn spelled() -> impl Strategy<Value = Spelled> {
    let csv = (
        prop::sample::select(vec![b',', b';', b'\t', b'|', 1]),
        prop::sample::select(vec!["", "NULL", "\\N"]),
        prop::sample::select(vec![b'"', b'\'']),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(delimiter, null, quote, backslash, header)| Spelled {
            form: "csv",
            delimiter,
            null,
            quote,
            escape: if backslash { b'\\' } else { quote },
            header,
        });
    let text = (
        prop::sample::select(vec![b'\t', b',', b'|', b' ']),
        prop::sample::select(vec!["\\N", "<none>"]),
        any::<bool>(),
    )
        .prop_map(|(delimiter, null, header)| Spelled {
            form: "text",
            delimiter,
            null,
            quote: 0,
            escape: b'\\',
            header,
        });
    prop_oneof![csv, text]
}

/// What we write, PostgreSQL reads; what it writes, we read; and the values are the same all along.
#[test]
fn the_server_and_we_understand_each_other() {
    let Some(server) = kwsync_core::testkit::PgServer::shared() else { return };
    let db = server.create_database();
    let mut schema = columns();
    // The server has no nanoseconds.
    schema[8] = Column::new("local", DataType::Timestamp(TimeUnit::Microsecond));
    let schema = Arc::new(Schema::new(schema).unwrap());
    server.psql(
        &db,
        r#"SET client_min_messages = error; CREATE TABLE t (text text, "a, ""b""\" text, int bigint, float float8, single real, flag bool,
           bytes bytea, at timestamptz, local timestamp, day date, small int2, money numeric(10,2), id uuid)"#,
    );
    let seed: [u8; 32] = std::array::from_fn(|i| i as u8);
    let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(ProptestConfig::default(), rng);
    for _ in 0..60 {
        let (options, rows) =
            (spelled(), prop::collection::vec(row(), 1..8)).new_tree(&mut runner).unwrap().current();
        let ours = if options.form == "csv" {
            csv().with_quote(Some(options.quote)).with_escape(Some(options.escape))
        } else {
            text()
        };
        let header = if options.header { Header::Names } else { Header::None };
        let ours = ours.with_delimiter(Some(options.delimiter)).with_null(options.null).with_header(header);
        let rows: Vec<Vec<Value<'static>>> = rows
            .into_iter()
            .map(|mut row| {
                if let Value::Timestamp(v, _, _) = row[8] {
                    row[8] = Value::Timestamp(v / 1000, TimeUnit::Microsecond, false);
                }
                row
            })
            .collect();
        let batch = TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap();
        let (mut written, mut kept) = (Vec::new(), Vec::new());
        let mut encoder = DelimitedEncoder::new(ours.clone()).unwrap();
        for row in 0..batch.rows() {
            if encoder.encode(&batch, row..row + 1, &mut written).is_ok() {
                kept.push(row);
            }
        }
        if kept.is_empty() {
            continue;
        }
        let shown = format!("{options:?} {}", String::from_utf8_lossy(&written).escape_debug());
        server.psql(&db, "TRUNCATE t");
        let sent = server.try_psql(&db, &format!("COPY t FROM STDIN ({})", sql(&options, true)), &written);
        sent.unwrap_or_else(|error| panic!("{error}: {shown}"));
        let theirs = server
            .try_psql(
                &db,
                &format!("SET timezone = 'Asia/Kolkata'; COPY t TO STDOUT ({})", sql(&options, false)),
                b"",
            )
            .unwrap();
        let shown = format!("{shown} came back as {}", String::from_utf8_lossy(&theirs).escape_debug());
        let read = ReadOptions::new().with_schema(&schema);
        let output = decode(&theirs, &[theirs.len() / 2], decoder(&ours, read), false);
        assert_eq!(output.rejects, [], "{shown}");
        assert_eq!(output.rows.len(), kept.len(), "{shown}");
        for (row, (_, _, values)) in kept.iter().zip(&output.rows) {
            for column in schema.columns() {
                let expected = batch.row(*row).get(column.name()).unwrap();
                assert_eq!(values[column.name()], expected, "{} of {shown}", column.name());
            }
        }
    }
}

/// Reads `input` from `at` on, as a resumed job does.
fn resumed(registry: &Arc<SchemaRegistry>, name: &str, input: &[u8], at: u64) -> Result<Output, String> {
    let options = csv().with_header(Header::Names);
    let mut own = decoder(&options, ReadOptions::new().with_table("t")).with_registry(Arc::clone(registry));
    let place = Position { byte: at, line: 0, column: 1, record: 0 };
    own.begin(Arc::new(kwsync_core::Input::new(name)), if at == 0 { Position::START } else { place });
    let mut output = Output::default();
    own.decode(&Bytes::copy_from_slice(&input[at as usize..])).map_err(|error| error.to_string())?;
    own.finish().map_err(|error| error.to_string())?;
    flush(&mut own, &mut output);
    Ok(output)
}

#[test]
fn an_input_is_read_on_from_its_middle() {
    let registry = Arc::new(SchemaRegistry::new());
    resumed(&registry, "a.csv", b"a,b\n1,x\n", 0).unwrap();
    // Another file of the table has its columns in another order.
    let second = b"b,a\ny,2\nz,3\n";
    resumed(&registry, "b.csv", &second[..8], 0).unwrap();
    let output = resumed(&registry, "b.csv", second, 8).unwrap();
    assert_eq!(output.rows.len(), 1);
    assert_eq!(output.rows[0].2["a"], Value::Int(3));
    assert_eq!(output.rows[0].2["b"], Value::Text("z".into()));
    let error = resumed(&registry, "c.csv", second, 8).unwrap_err();
    assert!(error.contains("the header of c.csv has not been read"), "{error}");
    let error = resumed(&registry, "b.csv", b"b,c\ny,2\n", 0).unwrap_err();
    assert!(error.contains("is another one than when the job began"), "{error}");
}

#[test]
fn a_header_that_cannot_be_read_ends_the_input() {
    for (header, code) in
        [(b"gr\xf6\xdfe,b\n1,2\n".as_slice(), "invalid_utf8"), (b"\"a,b\n1,2\n", "unterminated_quote")]
    {
        assert_eq!(fields(csv().with_header(Header::Names), header), code);
    }
}

#[test]
fn encodings_hold_for_headers_and_end_markers() {
    let latin = || csv().with_encoding("LATIN1").unwrap().with_header(Header::Names);
    let schema = Schema::new(vec![Column::new("größe", DataType::Text)]).unwrap();
    let batch = TableBatch::from_rows("t", Arc::new(schema), &[vec![Value::Text("é".into())]]).unwrap();
    let mut out = Vec::new();
    DelimitedEncoder::new(latin()).unwrap().encode(&batch, 0..1, &mut out).unwrap();
    assert_eq!(out, b"gr\xf6\xdfe\n\xe9\n");
    let output = decode(&out, &[], decoder(&latin(), ReadOptions::new()), false);
    assert_eq!(output.rows[0].2["größe"], Value::Text("é".into()));
    let text = text().with_encoding("LATIN1").unwrap();
    assert_eq!(fields(text, b"1\t2\n\\.\nx\ty\n"), "1|2\nafter_end_marker");
}

#[test]
fn a_long_record_does_not_take_its_neighbours_along() {
    let limits = kwsync_formats::Limits::new().with_max_record_bytes(600 << 10);
    let good = "1,a\n".repeat(10);
    let input = format!("{good}2,\"{}\n3,b\n", "x".repeat(2 << 20));
    let read = ReadOptions::new().with_limits(limits);
    let output = decode(input.as_bytes(), &[100, 1 << 20], decoder(&csv(), read), false);
    assert_eq!(output.rows.len(), 10, "{:?}", output.rejects.first().map(|reject| &reject.1));
}

#[test]
fn a_reject_shows_the_line_without_its_end_only() {
    let options = || csv().with_newline(Newline::Cr);
    let whole = decode(b"\ra\n\n\r", &[], decoder(&options(), ReadOptions::new()), false);
    assert_eq!(whole.rejects[0].2, "a\n\n");
    for cut in 1..5 {
        assert_eq!(
            decode(b"\ra\n\n\r", &[cut], decoder(&options(), ReadOptions::new()), true),
            whole,
            "{cut}"
        );
    }
}
