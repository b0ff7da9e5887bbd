use std::sync::Arc;

use kwsync_core::config::{Dsn, Params};
use kwsync_core::testkit::MongoDocument;
use kwsync_core::{ErrorKind, Value};
use proptest::prelude::*;

use super::bson::{Doc, Elem, decimal};
use super::columns::{Column, Columns, Target, schema};
use super::config::{MongoDbOptions, PARAMS};
use super::infer::Inferring;
use super::written::{self, Key, Written};

fn options(address: &str) -> kwsync_core::Result<MongoDbOptions> {
    let dsn: Dsn = address.parse()?;
    MongoDbOptions::from_dsn(&dsn, &Params::parse("mongodb", PARAMS, dsn.params())?)
}

/// A document with every kind of value.
fn every_kind() -> MongoDocument {
    let decimal = |digits: u128, exponent: i32, negative: bool| {
        let bits = digits | ((exponent + 6176) as u128) << 113 | u128::from(negative) << 127;
        bits.to_le_bytes()
    };
    let items = MongoDocument::new().int32("0", 1).null("1").text("2", "x");
    let regex = b"^a.*\0i\0";
    let code = [&6_i32.to_le_bytes()[..], b"f(){}\0"].concat();
    MongoDocument::new()
        .object_id("_id", [0x50, 0x7f, 0x1f, 0x77, 0xbc, 0xf8, 0x6c, 0xd7, 0x99, 0x43, 0x90, 0x11])
        .double("double", 0.1)
        .text("text", "é \"漢\"")
        .document(
            "doc",
            &MongoDocument::new()
                .int32("a", 1)
                .document("b", &MongoDocument::new().date("at", 1_700_000_000_123)),
        )
        .array("array", &items)
        .binary("bytes", 0, &[0, 255])
        .binary("uuid", 4, &[1; 16])
        .boolean("bool", true)
        .date("date", -1)
        .null("null")
        .raw(0x0b, "regex", regex)
        .raw(0x0d, "code", &code)
        .int32("i32", i32::MIN)
        .raw(0x11, "ts", &((7_u64 << 32) | 3).to_le_bytes())
        .int64("i64", i64::MIN)
        .raw(0x13, "dec", &decimal(12_345, -3, true))
        .raw(0xff, "min", &[])
        .raw(0x7f, "max", &[])
}

fn columns_of(docs: &[MongoDocument], nested: bool) -> Vec<Column> {
    let mut inferring = Inferring::default();
    for doc in docs {
        inferring.look(Doc::new(&doc.finished()).unwrap(), nested).unwrap();
    }
    inferring.columns(&|_| None)
}

fn shown(columns: &[Column]) -> String {
    let all = schema(columns).unwrap();
    let all = all.columns().iter().map(|column| format!("{} {}", column.name(), column.data_type()));
    all.collect::<Vec<_>>().join(", ")
}

/// The rows of documents, as texts, and the faults of those that are none.
fn rows(docs: &[MongoDocument], columns: &[Column], strict: bool) -> (Vec<String>, Vec<String>) {
    let mut made = Columns::new(columns, strict).unwrap();
    let mut faults = Vec::new();
    for doc in docs {
        if let Err(fault) = made.push(Doc::new(&doc.finished()).unwrap()).unwrap() {
            faults.push(format!("{}: {}", fault.code, fault.reason));
        }
    }
    let count = made.rows();
    let arrays = made.finish();
    let row = |row: usize| {
        let values = arrays.iter().map(|array| Value::of(array.as_ref(), row).unwrap().to_string());
        values.collect::<Vec<_>>().join("|")
    };
    ((0..count).map(row).collect(), faults)
}

#[test]
fn every_kind_of_value_has_a_column() {
    let docs = [every_kind()];
    let columns = columns_of(&docs, false);
    assert_eq!(
        shown(&columns),
        "_id varchar(24), double f64, text text, doc json, array json, bytes bytes, uuid uuid, bool bool, date timestamptz(ms), null text, \
         regex text, code text, i32 i32, ts text, i64 i64, dec numeric, min text, max text"
    );
    let (found, faults) = rows(&docs, &columns, true);
    assert_eq!(
        found,
        [
            "507f1f77bcf86cd799439011|0.1|é \"漢\"|{\"a\":1,\"b\":{\"at\":\"2023-11-14T22:13:20.123Z\"}}|[1,null,\"x\"]|\\x00ff|\
          \\x01010101010101010101010101010101|true|1969-12-31T23:59:59.999Z|null|/^a.*/i|f(){}|-2147483648|7:3|-9223372036854775808|\
          -12.345|MinKey|MaxKey"
        ]
    );
    assert!(faults.is_empty(), "{faults:?}");
    let columns = columns_of(&docs, true);
    assert!(
        shown(&columns).contains("doc.a i32, doc.b.at timestamptz(ms), array json"),
        "{}",
        shown(&columns)
    );
    let (found, _) = rows(&docs, &columns, true);
    assert!(found[0].contains("|1|2023-11-14T22:13:20.123Z|["), "{found:?}");
}

/// A type is widened only where all that was seen is exact in it.
#[test]
fn types_widen_where_that_is_exact() {
    let of = |docs: &[MongoDocument]| shown(&columns_of(docs, false));
    let doc = MongoDocument::new;
    for (docs, expected) in [
        (vec![doc().int32("a", 1), doc().int64("a", 2)], "a i64"),
        (vec![doc().int32("a", 1), doc().double("a", 2.5)], "a f64"),
        (vec![doc().int64("a", 1 << 40), doc().double("a", 2.5)], "a f64"),
        (vec![doc().int64("a", (1 << 53) + 1), doc().double("a", 2.5)], "a text"),
        (vec![doc().int32("a", 1), doc().text("a", "x")], "a text"),
        (vec![doc().boolean("a", true), doc().int32("a", 1)], "a text"),
        (vec![doc().null("a"), doc().date("a", 1)], "a timestamptz(ms)"),
        (vec![doc().document("a", &doc()), doc().int32("a", 1)], "a json"),
        (vec![doc().int32("a", 1), doc().int32("b", 1)], "a i32, b i32"),
        (vec![doc().document("a", &doc().int32("x.y", 1))], "a json"),
    ] {
        assert_eq!(of(&docs), expected);
    }
}

#[test]
fn what_does_not_fit_is_a_reject_of_its_own() {
    let doc = MongoDocument::new;
    let columns = columns_of(&[doc().int32("n", 1).double("f", 0.5).date("d", 0)], false);
    let docs = [
        doc().int32("n", 1),
        doc().int64("n", 1 << 40),
        doc().int32("n", 2).text("new", "x"),
        doc().double("n", 3.0).int64("f", 4),
        doc().int64("f", (1 << 53) + 1),
        doc().text("d", "2024-01-01T00:00:00.5Z"),
        doc().text("d", "yesterday"),
    ];
    let (found, faults) = rows(&docs, &columns, true);
    assert_eq!(found, ["1|null|null", "3|4|null", "null|null|2024-01-01T00:00:00.500Z"]);
    let codes: Vec<_> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
    assert_eq!(codes, ["type_conflict", "unknown_field", "type_conflict", "type_conflict"], "{faults:?}");
    assert!(faults[1].contains("new") && faults[1].contains("unknown_fields=ignore"), "{faults:?}");
    assert!(faults[0].contains("1099511627776 is an integer, and the column is i32"), "{faults:?}");
    let (found, faults) = rows(&docs[2..3], &columns, false);
    assert_eq!((found, faults.len()), (vec!["2|null|null".to_owned()], 0));
    // Within documents, too.
    let columns = columns_of(&[doc().document("a", &doc().int32("x", 1))], true);
    let (found, faults) = rows(
        &[doc().document("a", &doc().int32("y", 1)), doc().int32("a", 5), doc().null("a")],
        &columns,
        true,
    );
    assert_eq!(found, ["null"]);
    assert!(faults[0].contains("a.y") && faults[1].contains("a is an integer"), "{faults:?}");
}

/// A text that is not UTF-8 costs its document only, wherever it stands, and is told with its field and `_id`.
#[test]
fn a_text_that_is_not_utf8_is_a_reject() {
    let ill = |name: &str| MongoDocument::new().int32("_id", 7).raw(0x02, name, &[3, 0, 0, 0, 0xc3, 0x28, 0]);
    let fine = MongoDocument::new().int32("_id", 8).text("s", "é").document("d", &MongoDocument::new());
    let within = MongoDocument::new().int32("_id", 9).document("d", &ill("x"));
    let docs = [fine.clone(), ill("s"), within, fine];
    let columns = columns_of(&docs, false);
    assert_eq!(shown(&columns), "_id i32, s text, d json");
    let input = Arc::new(kwsync_core::Input::new("t"));
    let mut making =
        super::reading::Making::new(&columns, true, &kwsync_core::TableId::new("t"), input).unwrap();
    let took: Vec<bool> =
        docs.iter().map(|doc| making.add(Doc::new(&doc.finished()).unwrap()).unwrap()).collect();
    assert_eq!(took, [true, false, false, true]);
    let rejects = making.finish().rejects;
    assert!(rejects.iter().all(|reject| reject.code == "bad_utf8"), "{rejects:?}");
    assert!(
        rejects[0].reason.contains("column \"s\"") && rejects[0].reason.ends_with("_id 7"),
        "{rejects:?}"
    );
    assert!(
        rejects[1].reason.contains("column \"d\"") && rejects[1].reason.ends_with("_id 9"),
        "{rejects:?}"
    );
    // A name that is none, and framing that is broken.
    let name = [&[0x10][..], &[0xff, 0], &1_i32.to_le_bytes()].concat();
    let odd = [&(name.len() as i32 + 5).to_le_bytes()[..], &name, &[0]].concat();
    assert!(!making.add(Doc::new(&odd).unwrap()).unwrap());
    assert_eq!(making.finish().rejects[0].code, "bad_utf8");
    let broken = MongoDocument::new().raw(0x02, "s", &[9, 0, 0, 0, b'x', 0]).finished();
    assert!(making.add(Doc::new(&broken).unwrap()).is_err());
}

#[test]
fn values_that_would_change_are_rejects() {
    let doc = MongoDocument::new;
    let tried = |of: &str, value: MongoDocument| {
        let target = Target::parse(of, None).unwrap();
        let (rows, faults) = rows(&[value], &[Column::new("x", &target)], true);
        assert_eq!(rows.len() + faults.len(), 1);
        rows.len() == 1
    };
    for (text, is) in [
        ("0.1", true),
        ("-1.50e3", true),
        ("1e22", true),
        ("NaN", true),
        ("0.000", true),
        ("-0", true),
        ("1e999", false),
        ("1e-999", false),
        ("0.12345678901234567890123", false),
        ("9007199254740993", false),
        ("9007199254740992", true),
    ] {
        assert_eq!(tried("double", doc().text("x", text)), is, "{text}");
    }
    assert!(tried("uuid", doc().binary("x", 4, &[1; 16])));
    assert!(!tried("uuid", doc().binary("x", 3, &[1; 16])));
    assert!(tried("bytes", doc().binary("x", 3, &[1; 16])));
    assert!(tried("date", doc().raw(0x11, "x", &(5_u64 << 32).to_le_bytes())));
    assert!(!tried("date", doc().raw(0x11, "x", &(5_u64 << 32 | 1).to_le_bytes())));
}

#[test]
fn columns_of_datax() {
    let made = options(r#"mongodb://h/d?tables=c&columns=_id,tags,a.b,n,big&types=_id:string,tags:array,a.b:document.string,n:long,big:numeric(10,2)&splitters={"tags":";"}"#).unwrap();
    let columns: Vec<Column> =
        made.columns.iter().map(|name| Column::new(name.as_str(), &made.types[name])).collect();
    let doc = MongoDocument::new;
    let tags = doc().text("0", "x").int32("1", 7).null("2");
    let docs = [
        doc()
            .object_id("_id", [1; 12])
            .array("tags", &tags)
            .document("a", &doc().double("b", 2.5))
            .text("n", "42")
            .text("big", "12.50")
            .text("more", "x"),
        doc().int32("_id", 5).text("tags", "one").int32("a", 1).double("n", 2.5),
        doc().text("_id", "k").text("big", "1.001"),
    ];
    let (found, faults) = rows(&docs, &columns, false);
    assert_eq!(found, ["010101010101010101010101|x;7;|2.5|42|12.50"]);
    assert!(
        faults[0].contains("2.5 is a double, and the column is i64") && faults[1].contains("big"),
        "{faults:?}"
    );
    assert!(matches!(made.types["tags"], Target::Joined(ref between) if between == ";"));
}

#[test]
fn decimals_in_digits() {
    let of =
        |digits: u128, exponent: i32| decimal((digits | ((exponent + 6176) as u128) << 113).to_le_bytes());
    assert_eq!(of(1, 0), "1");
    assert_eq!(of(0, -3), "0.000");
    assert_eq!(of(1, -6), "0.000001");
    assert_eq!(of(10_u128.pow(34) - 1, 2), format!("{}00", "9".repeat(34)));
    assert_eq!(decimal((0x1f_u128 << 122).to_le_bytes()), "NaN");
    assert_eq!(decimal((0x3e_u128 << 122).to_le_bytes()), "-Infinity");
    assert_eq!(decimal((0x18_u128 << 122).to_le_bytes()), of(0, -6176));
}

#[test]
fn queries_are_extended_json_and_the_shells() {
    let same = |a: &str, b: &str| assert_eq!(written::query(a).unwrap(), written::query(b).unwrap(), "{a}");
    same(
        r#"{"_id": ObjectId("507f1f77bcf86cd799439011")}"#,
        r#"{"_id": {"$oid": "507f1f77bcf86cd799439011"}}"#,
    );
    same(r#"{"a": {"$gt": ISODate('2024-05-01T00:00:00Z')}}"#, r#"{"a": {"$gt": {"$date": 1714521600000}}}"#);
    same(
        r#"{"a": NumberLong(5), "b": "ObjectId(\"x\")"}"#,
        r#"{"a": {"$numberLong": "5"}, "b": "ObjectId(\"x\")"}"#,
    );
    let query =
        written::query(r#"{"a": {"$in": [1, 3000000000, 0.5, true, null, "x"]}}"#).unwrap().finished();
    let mut text = String::new();
    Elem::Doc(Doc::new(&query).unwrap()).json(&mut text).unwrap();
    assert_eq!(text, r#"{"a":{"$in":[1,3000000000,0.5,true,null,"x"]}}"#);
    for (wrong, words) in [
        ("{a: 1}", "names in double quotes"),
        ("[1]", "a query is a document"),
        (r#"{"a": {"$oid": "x"}}"#, "507f1f77"),
        (r#"{"a": {"$numberDecimal": "1"}}"#, "$numberDecimal"),
        (r#"{"a": "unended"#, "no JSON"),
    ] {
        let error = written::query(wrong).unwrap_err();
        let told = format!("{error} {}", error.hint().unwrap_or_default());
        assert!(told.contains(words), "{wrong}: {told}");
    }
}

#[test]
fn keys_are_written_down_and_read_back() {
    let bytes = every_kind().finished();
    let mut keys = 0;
    for found in Doc::new(&bytes).unwrap().elems() {
        let (name, elem) = found.unwrap();
        let Some(key) = Key::of(&elem) else { continue };
        keys += 1;
        assert_eq!(Key::parse(&key.text()), Some(key.clone()), "{name}");
        let again = Written::new().raw("k", &key).finished();
        assert_eq!(Doc::new(&again).unwrap().get("k").unwrap(), Some(elem), "{name}");
    }
    assert_eq!(keys, 12);
    for wrong in ["", "0", "07aa", "0500", "zz", "100000000000"] {
        assert!(Key::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn addresses_and_what_contradicts_itself() {
    let made = options(
        "mongodb://me:secret@a:27018,b/d?tables=fs.files,m_*&authSource=admin&ssl=true&replicaSet=rs0",
    )
    .unwrap();
    assert_eq!(
        (made.connect.hosts.len(), made.connect.auth_db.as_str(), made.connect.tls),
        (2, "admin", true)
    );
    assert!(!format!("{made:?}").contains("secret"), "{made:?}");
    assert!(made.asks_for(&made.tables[0], "fs.files") && !made.asks_for(&made.tables[0], "files"));
    assert!(made.asks_for(&made.tables[1], "m_a.b"));
    for (address, kind, words) in [
        ("mongodb://h?tables=c", ErrorKind::Config, "names no database"),
        ("mongodb://h/d", ErrorKind::Config, "does not say what to read"),
        ("mongodb+srv://h/d?tables=c", ErrorKind::Unsupported, "name the servers themselves"),
        ("mongodb://h/d?tables=c&columns=a&types=b:long", ErrorKind::Config, "none of columns="),
        ("mongodb://h/d?tables=c&types=a", ErrorKind::Config, "no type is named"),
        ("mongodb://h/d?tables=c&types=a:int4range", ErrorKind::Config, "no column type"),
        ("mongodb://h/d?tables=c&types=a:interval", ErrorKind::Unsupported, "no column of MongoDB"),
        ("mongodb://h/d?tables=c&where={a:1}", ErrorKind::Config, "the query is no JSON"),
        ("mongodb://h/d?tables=c&mode=all", ErrorKind::Config, "needs a column"),
        ("mongodb://h/d?tabels=c", ErrorKind::Config, "did you mean `tables`?"),
    ] {
        let error = options(address).unwrap_err();
        let told = format!("{error} {}", error.hint().unwrap_or_default());
        assert!(error.kind() == kind && told.contains(words), "{address}: {told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a server sends: a row, a reject or an error, and no panic.
    #[test]
    fn hostile_documents(changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..8), cut in 0_usize..400, nested: bool) {
        let mut bytes = every_kind().finished();
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        let cut = cut % bytes.len();
        let shorter = bytes[..cut].to_vec();
        let columns = columns_of(&[every_kind()], nested);
        for bytes in [bytes, shorter] {
            let Ok(doc) = Doc::new(&bytes) else { continue };
            let mut inferring = Inferring::default();
            let looked = inferring.look(doc, nested).is_ok();
            let mut made = Columns::new(&columns, true).unwrap();
            let pushed = made.push(doc);
            prop_assert!(pushed.is_ok() || !looked || made.rows() == 0);
            let mut text = String::new();
            if Elem::Doc(doc).json(&mut text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            }
        }
    }
}
