//! The dialects with typed values: what docs/formats.md says of them, one test a row.

use kwsync_formats::influx::{Dialect, FieldValue, Precision, lines, write_point};

fn points(dialect: Dialect, input: &str) -> Vec<String> {
    let points = lines(input.as_bytes()).with_dialect(dialect).map(|line| match line {
        Ok(line) => {
            let mut out = Vec::new();
            write_point(&line, Precision::Ns, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            text.split_once("\"fields\":").unwrap().1.trim_end().trim_end_matches('}').to_owned()
        }
        Err(error) => error.reason().code().to_owned(),
    });
    points.collect()
}

/// What becomes of the value `value`: `type text`, or the code of the reject.
fn value(dialect: Dialect, value: &str) -> String {
    let input = format!("m f={value} 1");
    let all: Vec<_> = lines(input.as_bytes()).with_dialect(dialect).collect();
    assert_eq!(all.len(), 1, "{input}");
    let line = match &all[0] {
        Ok(line) => line,
        Err(error) => return error.reason().code().to_owned(),
    };
    let (_, value) = line.fields().next().unwrap();
    let text = match value {
        FieldValue::Str(text) | FieldValue::NStr(text) | FieldValue::Geometry(text) => text.to_string(),
        FieldValue::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        FieldValue::I64(v) => v.to_string(),
        FieldValue::U64(v) => v.to_string(),
        FieldValue::F64(v) => v.to_string(),
        FieldValue::Bool(v) => v.to_string(),
        FieldValue::I8(v) => v.to_string(),
        FieldValue::I16(v) => v.to_string(),
        FieldValue::I32(v) => v.to_string(),
        FieldValue::U8(v) => v.to_string(),
        FieldValue::U16(v) => v.to_string(),
        FieldValue::U32(v) => v.to_string(),
        FieldValue::F32(v) => v.to_string(),
        other => panic!("{other:?}"),
    };
    format!("{} {text}", value.type_name())
}

macro_rules! values {
    ($dialect:ident, $name:ident: $($input:expr => $expected:expr),+ $(,)?) => {
        #[test]
        fn $name() {
            $(assert_eq!(value(Dialect::$dialect, $input), $expected, "{}", $input);)+
        }
    };
}

values!(Kwdb, kwdb_numbers:
    "11i16" => "i16 11", "21i32" => "i32 21", "31i64" => "i64 31", "31i" => "i64 31", "-3i" => "i64 -3",
    "1.8f32" => "f32 1.8", "0.16f64" => "f64 0.16", "0.16" => "f64 0.16", "1648432611249" => "f64 1648432611249",
    "32768i16" => "out_of_range", "-32768i16" => "i16 -32768", "2147483648i32" => "out_of_range",
    "9223372036854775808i" => "integer_overflow", "1e39f32" => "out_of_range", "1e400" => "float_overflow",
    "1u" => "bad_suffix", "1i8" => "bad_suffix", "1f16" => "bad_suffix", "1.5i" => "bad_integer", "i16" => "bad_value",
    "--1" => "bad_float", "1x" => "bad_float",
    // Rounded once: by way of the double it would be 16777216.
    "16777217.0000001f32" => "f32 16777218",
);
values!(Kwdb, kwdb_booleans:
    "true" => "bool true", "TRUE" => "bool true", "fAlse" => "bool false", "t" => "bad_value", "truely" => "bad_value",
);
values!(Kwdb, kwdb_strings:
    "\"a\"" => "string a", "'a'" => "string a", "L\"a\"" => "nstring a", "\\\"rfv\\\"" => "string rfv",
    "L\\\"ikl\\\"" => "nstring ikl", "\"\"" => "string ", "\"a b,c=d\"" => "string a b,c=d",
    "\"a\\ b\\,c\\=d\\\"e\\\\f\"" => "string a b,c=d\"e\\f", "'it\\'s \"x\"'" => "string it's \"x\"",
    "\\\"say \\\\\\\"hi\\\\\\\" and \\\\\\\\ \\\"" => "string say \"hi\" and \\ ",
    "\"a" => "unterminated_string", "\\\"a\"" => "unterminated_string", "\"a\"b" => "text_after_string",
    "L" => "bad_value", "B\"a\"" => "bad_value",
);
values!(Kwdb, kwdb_bytes:
    "\"\\x313233\"" => "bytes 123", "\"\\\\x313233\"" => "bytes 123", "\\\"\\x31\\\"" => "bytes 1",
    "\\\"\\\\x313233\\\"" => "bytes 123", "\"\\x\"" => "bytes ", "\"\\x3\"" => "string \\x3", "'\\x31'" => "string \\x31",
    "\"\\xzz\"" => "string \\xzz",
);
values!(Tdengine, tdengine_values:
    "1i8" => "i8 1", "1i16" => "i16 1", "1i32" => "i32 1", "1i64" => "i64 1", "1i" => "i64 1",
    "1u8" => "u8 1", "1u16" => "u16 1", "1u32" => "u32 1", "1u64" => "u64 1", "18446744073709551615u" => "u64 18446744073709551615",
    "128i8" => "out_of_range", "256u8" => "out_of_range", "-1u8" => "bad_integer", "18446744073709551616u" => "integer_overflow",
    "1.5f32" => "f32 1.5", "1.5" => "f64 1.5", "t" => "bool true", "FALSE" => "bool false", "tRUE" => "bad_value",
    "\"a\"" => "string a", "L\"a\"" => "nstring a", "B\"abc\"" => "bytes abc", "B\"\\x6162\"" => "bytes ab",
    "B\"\\x616\"" => "bad_bytes", "G\"POINT(1 2)\"" => "geometry POINT(1 2)", "\"a\\\\b\\\"c\"" => "string a\\b\"c",
    "'a'" => "bad_value", "\"\\x31\"" => "string \\x31",
);

#[test]
fn the_documented_lines_of_kwdb() {
    let input = concat!(
        r#"tb,tag_name=tag_value c1=11i16,c2=21i32,c3=31i64,c4=11.8f32,c5=0.16f64,c6=true,c7=\"112132\",c9='a',c10=L\"1\",c13=1648432611249 1648432611249000000"#,
        "\n",
        r#"tb,tag_name=tag_value c7=\"\\x313233\",c13=\"2023-08-11 12:12:10.249\" 1648432611249000000"#,
    );
    assert_eq!(
        points(Dialect::Kwdb, input),
        [
            concat!(
                r#"[["c1","i16","11"],["c2","i32","21"],["c3","i64","31"],["c4","f32","11.8"],["c5","f64","0.16"],"#,
                r#"["c6","bool","true"],["c7","string","112132"],["c9","string","a"],["c10","nstring","1"],"#,
                r#"["c13","f64","1648432611249"]],"timestamp":1648432611249000000"#
            ),
            concat!(
                r#"[["c7","bytes","\\x313233"],["c13","string","2023-08-11 12:12:10.249"]],"#,
                r#""timestamp":1648432611249000000"#
            ),
        ]
    );
}

#[test]
fn names_have_one_spelling() {
    for (dialect, name, expected) in [
        (Dialect::Kwdb, r"a\ b\=c\,d\\e\qf", Err("bad_escape")),
        (Dialect::Kwdb, r#"a\ b\=c\,d\\e\"f"#, Ok(r#"a b=c,d\e"f"#)),
        (Dialect::Kwdb, r#"a"b"#, Err("bad_escape")),
        (Dialect::Tdengine, r#"a"b"#, Ok(r#"a"b"#)),
        (Dialect::Tdengine, r"a\\b", Ok(r"a\b")),
        (Dialect::Tdengine, r"a\b", Err("bad_escape")),
    ] {
        let input = format!("m {name}=1");
        let line = lines(input.as_bytes()).with_dialect(dialect).next().unwrap();
        let found = line.map(|line| line.fields().next().unwrap().0.to_string());
        assert_eq!(
            found.as_deref().map_err(|error| error.reason().code()),
            expected.map(str::to_owned).as_deref().map_err(|code| *code),
            "{dialect:?} {name}"
        );
    }
}

#[test]
fn tags_and_ends() {
    let tag = |dialect, input: &str| {
        let line = lines(input.as_bytes()).with_dialect(dialect).next().unwrap();
        line.map(|line| line.tags().next().unwrap().1.to_string()).map_err(|error| error.reason().code())
    };
    assert_eq!(tag(Dialect::Kwdb, r#"m,t=a\"b\\c\ d f=1"#), Ok(r#"a"b\c d"#.to_owned()));
    assert_eq!(tag(Dialect::Kwdb, r"m,t=C:\dir f=1"), Ok(r"C:\dir".to_owned()));
    assert_eq!(tag(Dialect::Tdengine, r"m,t=a\\b f=1 1 and more"), Ok(r"a\b".to_owned()));
    assert_eq!(tag(Dialect::Kwdb, "m,t=a f=1 1 more"), Err("trailing_text"));
    assert_eq!(tag(Dialect::Kwdb, "m,t=a=b f=1"), Err("unescaped_equals"));
    assert_eq!(tag(Dialect::Kwdb, "m,t= f=1"), Err("empty_tag_value"));
    // One record a physical line.
    let codes = points(Dialect::Tdengine, "m f=\"a\nb\" 1\r\n# comment\nm f=1i8 1\r\n");
    assert_eq!(
        codes,
        ["unterminated_string", "missing_field_value", "[[\"f\",\"i8\",\"1\"]],\"timestamp\":1"]
    );
}

#[test]
fn the_precision_told_from_the_size() {
    for (written, nanoseconds) in [
        (1_700_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_000_000_000, 1_700_000_000_000_000_000),
        (-5, -5_000_000_000),
        (0, 0),
    ] {
        assert_eq!(Precision::Auto.to_nanoseconds(written), Some(nanoseconds));
    }
    assert_eq!("auto".parse(), Ok(Precision::Auto));
}

#[cfg(feature = "arrow")]
mod arrow {
    use std::sync::Arc;

    use kwsync_core::{Column, DataType, Decoder, Encoder, Role, Schema, TableBatch, TimeUnit, Value};
    use kwsync_formats::influx::{Dialect, LineDecoder, LineEncoder, LineOptions, Precision};
    use proptest::prelude::*;

    use crate::output::{decode, options};

    /// A column's type, and values of it. What has no own type in a dialect is left to it.
    fn column(dialect: Dialect) -> impl Strategy<Value = (DataType, Vec<Value<'static>>)> {
        let rows = 4;
        let text = "[a-c \\\\\"',=\\\\x0-9é{}L]{0,12}|\\\\\\\\x[0-9a-f]{0,4}";
        let tdengine = dialect == Dialect::Tdengine;
        let vec = move |data_type: DataType, value: BoxedStrategy<Value<'static>>| {
            let value = prop_oneof![4 => value, 1 => Just(Value::Null)];
            (Just(data_type), prop::collection::vec(value, rows)).boxed()
        };
        let float = any::<f64>().prop_filter("finite", |v| v.is_finite());
        let single = any::<f32>().prop_filter("finite", |v| v.is_finite());
        let mut all = vec![
            vec(DataType::Int16, any::<i16>().prop_map(|v| Value::Int(v.into())).boxed()),
            vec(DataType::Int32, any::<i32>().prop_map(|v| Value::Int(v.into())).boxed()),
            vec(DataType::Int64, any::<i64>().prop_map(Value::Int).boxed()),
            vec(DataType::Float64, float.prop_map(Value::Float64).boxed()),
            vec(DataType::Float32, single.prop_map(Value::Float32).boxed()),
            vec(DataType::Bool, any::<bool>().prop_map(Value::Bool).boxed()),
            vec(DataType::Text, text.prop_map(|v| Value::Text(v.into())).boxed()),
            vec(DataType::NVarChar(None), text.prop_map(|v| Value::Text(v.into())).boxed()),
            vec(
                DataType::Bytes,
                prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| Value::Bytes(v.into())).boxed(),
            ),
        ];
        if tdengine {
            all.extend([
                vec(DataType::Int8, any::<i8>().prop_map(|v| Value::Int(v.into())).boxed()),
                vec(DataType::UInt8, any::<u8>().prop_map(|v| Value::UInt(v.into())).boxed()),
                vec(DataType::UInt16, any::<u16>().prop_map(|v| Value::UInt(v.into())).boxed()),
                vec(DataType::UInt32, any::<u32>().prop_map(|v| Value::UInt(v.into())).boxed()),
                vec(DataType::UInt64, any::<u64>().prop_map(Value::UInt).boxed()),
                vec(DataType::Geometry, Just(Value::Text("POINT(1 \"2\")".into())).boxed()),
            ]);
        }
        proptest::strategy::Union::new(all)
    }

    fn table(dialect: Dialect) -> impl Strategy<Value = TableBatch> {
        let name = "[a-c ,=\\\\\"é]{1,8}";
        let columns = prop::collection::vec((column(dialect), any::<bool>()), 1..6);
        (name, columns).prop_map(|(name, columns)| {
            let mut schema = vec![
                Column::new("time", DataType::TimestampTz(TimeUnit::Nanosecond)).with_role(Role::Timestamp),
                // A record needs a field that is not null.
                Column::new("always", DataType::Int64),
            ];
            let mut rows: Vec<Vec<Value<'static>>> = (0..4)
                .map(|row| vec![Value::Timestamp(row, TimeUnit::Nanosecond, true), Value::Int(row)])
                .collect();
            for (index, ((data_type, values), tag)) in columns.into_iter().enumerate() {
                let tag = tag && data_type == DataType::Text;
                let role = if tag { Role::Tag } else { Role::Field };
                schema.push(Column::new(format!("{name}{index}"), data_type).with_role(role));
                for (row, value) in rows.iter_mut().zip(values) {
                    // An empty tag is no tag.
                    row.push(if tag && value == Value::Text("".into()) { Value::Null } else { value });
                }
            }
            TableBatch::from_rows(name.as_str(), Arc::new(Schema::new(schema).unwrap()), &rows).unwrap()
        })
    }

    fn read_back(
        dialect: Dialect,
        batch: &TableBatch,
        cuts: &[prop::sample::Index],
    ) -> Result<(), TestCaseError> {
        let mut written = Vec::new();
        let mut encoder = LineEncoder::new(Precision::Ns).with_dialect(dialect);
        encoder.encode(batch, 0..batch.rows(), &mut written).unwrap();
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(written.len() + 1)).collect();
        let shown = String::from_utf8_lossy(&written).into_owned();
        let output = decode(&written, &cuts, options().with_dialect(dialect).with_batch_rows(3), false);
        prop_assert_eq!(&output.rejects, &[], "{}", &shown);
        prop_assert_eq!(&decode(&written, &[], options().with_dialect(dialect), true), &output, "{}", &shown);
        let rows = output.tables.get(batch.table().name()).cloned().unwrap_or_default();
        prop_assert_eq!(rows.len(), batch.rows(), "{}", &shown);
        for (index, row) in rows.iter().enumerate() {
            for column in batch.schema().columns() {
                let expected = batch.row(index).get(column.name()).unwrap();
                let found = row.values.get(column.name()).cloned().unwrap_or(Value::Null);
                prop_assert_eq!(found, expected, "{} of {}", column.name(), &shown);
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn kwdb_reads_back(batch in table(Dialect::Kwdb), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            read_back(Dialect::Kwdb, &batch, &cuts)?;
        }

        #[test]
        fn tdengine_reads_back(batch in table(Dialect::Tdengine), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            read_back(Dialect::Tdengine, &batch, &cuts)?;
        }

        /// Whatever the bytes are, where they are cut makes no difference.
        #[test]
        fn any_bytes(
            lines in prop::collection::vec("[mf]{0,2}(,t=[a\\\\\"]{0,3})? f=(1i16|\\\\\"[a\\\\]{0,3}\\\\\"|L?\"[a\\\\\"x1]{0,4}\"|'[a\\\\']{0,3}'|B\"a\"|[0-9]{1,3}[iuf]?[0-9]{0,2})( [0-9a]{0,3})?[\r\n]{0,2}", 0..12),
            dialect in prop_oneof![Just(Dialect::Kwdb), Just(Dialect::Tdengine)],
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let input = lines.concat().into_bytes();
            let whole = decode(&input, &[], options().with_dialect(dialect), false);
            let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
            prop_assert_eq!(&decode(&input, &cuts, options().with_dialect(dialect).with_batch_rows(2), true), &whole);
            prop_assert_eq!(&decode(&input, &cuts, options().with_dialect(dialect), false), &whole);
        }
    }

    #[test]
    fn a_target_gives_the_types() {
        let schema = Schema::new(vec![
            Column::new("k_timestamp", DataType::TimestampTz(TimeUnit::Millisecond))
                .with_role(Role::Timestamp),
            Column::new("c1", DataType::Int32),
            Column::new("c7", DataType::VarBytes(Some(4))),
            Column::new("c13", DataType::TimestampTz(TimeUnit::Millisecond)),
            Column::new("f", DataType::Float32),
            Column::new("tag_name", DataType::VarChar(Some(3))).with_role(Role::PrimaryTag),
        ]);
        let options = LineOptions::default().with_dialect(Dialect::Kwdb).with_time_column("k_timestamp");
        let mut decoder = LineDecoder::new(options).with_target("tb", Arc::new(schema.unwrap()));
        let input = concat!(
            "tb,tag_name=a c1=11i16,c7=\"ab\",c13=1648432611249,f=1.5 1648432611249000000\n",
            "tb,tag_name=a c1=12i64,c7=\"\\x313233\",c13=\"2023-08-11 12:12:10.249\",f=2i 1\n",
            "tb,tag_name=a c1=3000000000i64 2\n",
            "tb,tag_name=a c7=\"abcde\",c1=5i 3\n",
            "tb,tag_name=long c1=5i 4\n",
            "tb,tag_name=a c1=1.5 5\n",
            "tb,tag_name=a c13=\"never\" 6\n",
            "tb,tag_name=b c1=7i,new=1i16 7\n",
        );
        decoder.decode(&input.into()).unwrap();
        let decoded = decoder.flush().unwrap();
        let codes: Vec<_> = decoded.rejects.iter().map(|r| (r.position.line, r.code.as_str())).collect();
        assert_eq!(
            codes,
            [(3, "integer_overflow"), (4, "too_long"), (5, "too_long"), (6, "inexact"), (7, "bad_timestamp")]
        );
        assert!(
            decoded.rejects[0].reason.contains("column \"c1\" of table tb is i32"),
            "{}",
            decoded.rejects[0].reason
        );
        let batch = &decoded.batches[0];
        let get = |row: usize, name: &str| batch.row(row).get(name).unwrap().into_owned();
        let ms = |v| Value::Timestamp(v, TimeUnit::Millisecond, true);
        assert_eq!(get(0, "c1"), Value::Int(11));
        assert_eq!(get(0, "c7"), Value::Bytes(b"ab".as_slice().into()));
        assert_eq!(get(0, "c13"), ms(1_648_432_611_249));
        assert_eq!(get(1, "c7"), Value::Bytes(b"123".as_slice().into()));
        assert_eq!(get(1, "c13"), ms(1_691_755_930_249));
        assert_eq!(get(1, "f"), Value::Float32(2.0));
        assert_eq!(get(2, "new"), Value::Int(1));
        assert_eq!(batch.schema().column("tag_name").unwrap().role(), Role::PrimaryTag);
    }

    #[test]
    fn types_for_columns_of_any_table() {
        let types = Schema::new(vec![
            Column::new("at", DataType::TimestampTz(TimeUnit::Millisecond)),
            Column::new("room", DataType::VarChar(Some(2))),
        ]);
        let options = LineOptions::default().with_dialect(Dialect::Kwdb).with_types(Arc::new(types.unwrap()));
        let output = decode(
            b"a,room=x at=5 1\nb,room=xyz at=5 1\nb,room=y at=\"1970-01-01 00:00:00.007\",n=1i16 1\n",
            &[],
            options.with_clock(|| 1),
            false,
        );
        let at = |table: &str| output.tables[table][0].values["at"].clone();
        assert_eq!(at("a"), Value::Timestamp(5, TimeUnit::Millisecond, true));
        assert_eq!(at("b"), Value::Timestamp(7, TimeUnit::Millisecond, true));
        let codes: Vec<_> = output.rejects.iter().map(|reject| reject.code.as_str()).collect();
        assert_eq!(codes, ["too_long"]);
    }
}
