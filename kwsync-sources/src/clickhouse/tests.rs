use std::sync::Arc;

use arrow_array::ArrayRef;
use kwsync_core::config::{Dsn, Params};
use kwsync_core::system::clickhouse::types::Type;
use kwsync_core::{ErrorKind, Value};
use proptest::prelude::*;

use super::arrays::{self, Bad};
use super::config::{ClickHouseOptions, PARAMS};
use super::native::{Blocks, Field};

/// What the server of version 18.16 sent of two rows of these columns.
const COLUMNS: [(&str, &str); 19] = [
    ("id", "UInt64"),
    ("s", "String"),
    ("l", "LowCardinality(String)"),
    ("ln", "LowCardinality(Nullable(String))"),
    ("n", "Nullable(Int32)"),
    ("a", "Array(String)"),
    ("an", "Array(Nullable(Int32))"),
    ("tu", "Tuple(UInt8, String)"),
    ("e", "Enum8('y\\'z' = -2, 'x' = 1)"),
    ("d", "Date"),
    ("dt", "DateTime"),
    ("dz", "DateTime"),
    ("u", "UUID"),
    ("f", "FixedString(3)"),
    ("de", "Decimal(10, 2)"),
    ("de9", "Decimal(9, 4)"),
    ("d38", "Decimal(38, 10)"),
    ("nest.k", "Array(String)"),
    ("nest.v", "Array(Array(UInt8))"),
];

const RECORDED: &str = "13020269640655496e74363401000000000000000200000000000000017306537472696e67016100016c164c6f7743617264696e616c697479285374
72696e672901000000000000000006000000000000030000000000000000026c31026c3202000000000000000102026c6e204c6f7743617264696e61
6c697479284e756c6c61626c6528537472696e6729290100000000000000000600000000000003000000000000000000017a02000000000000000002
016e0f4e756c6c61626c6528496e743332290100000000000500000001610d417272617928537472696e672902000000000000000200000000000000
0178017902616e164172726179284e756c6c61626c6528496e7433322929020000000000000002000000000000000001010000000000000002747514
5475706c652855496e74382c20537472696e6729070001740001651b456e756d382827795c277a27203d202d322c20277827203d20312901fe016404
44617465464d0000026474084461746554696d65c071e0650000000002647a084461746554696d654001e065808fffff01750455554944e711b35c04
c4f061a0dbd36a00a67b900000000000000000000000000000000001660e4669786564537472696e672833296162006162630264650e446563696d61
6c2831302c2032297d000000000000000000000000000000036465390d446563696d616c28392c203429589effff00000000036433380f446563696d
616c2833382c2031302900faae2eefe073c3f60fe98e01000000001cf4abfdffffffffffffffffffffff066e6573742e6b0d41727261792853747269
6e672902000000000000000200000000000000026b31026b32066e6573742e761341727261792841727261792855496e743829290200000000000000
0200000000000000020000000000000002000000000000000102";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn fields(columns: &[(&str, &str)]) -> Arc<[Field]> {
    columns
        .iter()
        .map(|(name, text)| Field {
            name: (*name).into(),
            text: (*text).into(),
            is: Type::parse(text).unwrap(),
        })
        .collect()
}

/// All rows, as texts, and what is bad of them.
fn read(blocks: &mut Blocks, fields: &[Field], binary: bool) -> (Vec<Vec<String>>, Vec<Bad>) {
    let rows = blocks.rows();
    let mut bad = Vec::new();
    let arrays: Vec<ArrayRef> = blocks
        .take()
        .iter()
        .zip(fields)
        .map(|(node, field)| arrays::column(node, &field.is, binary, &mut bad).unwrap())
        .collect();
    let rows = (0..rows)
        .map(|row| arrays.iter().map(|array| Value::of(array.as_ref(), row).unwrap().to_string()).collect())
        .collect();
    (rows, bad)
}

/// The rows of an answer that comes in pieces of these lengths, over and over.
fn rows_of(
    answer: &[u8],
    columns: &[(&str, &str)],
    pieces: &[usize],
) -> kwsync_core::Result<Vec<Vec<String>>> {
    let fields = fields(columns);
    let mut blocks = Blocks::new(&fields);
    let (mut at, mut lengths) = (0, pieces.iter().cycle());
    let mut all = Vec::new();
    while at < answer.len() {
        let end = (at + (*lengths.next().unwrap()).max(1)).min(answer.len());
        while at < end {
            let (used, ended) = blocks.push(&answer[at..end])?;
            at += used;
            if ended && blocks.rows() > 1 {
                all.extend(read(&mut blocks, &fields, false).0);
            }
        }
    }
    blocks.finish()?;
    all.extend(read(&mut blocks, &fields, false).0);
    Ok(all)
}

#[test]
fn a_recorded_answer() {
    let rows = rows_of(&bytes(RECORDED), &COLUMNS, &[usize::MAX]).unwrap();
    let expected = [
        "1|a|l1|null|null|{x,y}|{1,null}|[7,\"t\"]|x|2024-02-29|2024-02-29T12:00:00Z|2024-02-29T04:00:00Z|\\x61f0c4045cb311e7907ba6006ad3dba0|ab|1.25|-2.5000|12345678901234567890.5000000000|{k1,k2}|[[1,2],[]]",
        "2||l2|z|5|{}|{}|[0,\"\"]|y'z|1970-01-01|1970-01-01T00:00:00Z|2106-02-06T22:28:16Z|\\x00000000000000000000000000000000|abc|0.00|0.0000|-1.0000000000|{}|[]",
    ];
    let told: Vec<_> = rows.iter().map(|row| row.join("|")).collect();
    assert_eq!(told, expected);
}

/// A block of one column.
fn block(name: &str, of: &str, rows: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![1, rows];
    for text in [name, of] {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(data);
    out
}

/// What servers later than the one of the tests have, by the bytes that the format's description says.
#[test]
fn types_of_later_servers_by_their_bytes() {
    let i256 = |low: i128| {
        let mut bytes = low.to_le_bytes().to_vec();
        bytes.extend([if low < 0 { 0xff } else { 0 }; 16]);
        bytes
    };
    let map = [
        &2_u64.to_le_bytes()[..],
        &2_u64.to_le_bytes(),
        &[1, b'k', 1, b'l'],
        &[0, 1],
        &7_i32.to_le_bytes(),
        &0_i32.to_le_bytes(),
    ]
    .concat();
    for (of, rows, data, expected) in [
        ("Bool", 2, vec![0, 1], vec!["false", "true"]),
        ("Int128", 1, i128::MIN.to_le_bytes().to_vec(), vec!["-170141183460469231731687303715884105728"]),
        ("UInt128", 1, u128::MAX.to_le_bytes().to_vec(), vec!["340282366920938463463374607431768211455"]),
        ("Int256", 1, i256(-5), vec!["-5"]),
        (
            "UInt256",
            1,
            vec![0xff; 32],
            vec!["115792089237316195423570985008687907853269984665640564039457584007913129639935"],
        ),
        ("Decimal(76, 3)", 1, i256(-12_345), vec!["-12.345"]),
        (
            "Date32",
            2,
            [(-25_567_i32).to_le_bytes(), 120_529_i32.to_le_bytes()].concat(),
            vec!["1900-01-01", "2299-12-31"],
        ),
        (
            "DateTime64(3, 'Asia/Shanghai')",
            1,
            1_700_000_000_123_i64.to_le_bytes().to_vec(),
            vec!["2023-11-14T22:13:20.123Z"],
        ),
        ("DateTime64(1)", 1, 17_000_000_001_i64.to_le_bytes().to_vec(), vec!["2023-11-14T22:13:20.100Z"]),
        ("DateTime64(5)", 1, (-1_i64).to_le_bytes().to_vec(), vec!["1969-12-31T23:59:59.999990Z"]),
        ("DateTime64(9)", 1, 1_i64.to_le_bytes().to_vec(), vec!["1970-01-01T00:00:00.000000001Z"]),
        ("DateTime64(0)", 1, 1_i64.to_le_bytes().to_vec(), vec!["1970-01-01T00:00:01Z"]),
        ("IPv4", 1, vec![1, 0, 168, 192], vec!["192.168.0.1"]),
        ("IPv6", 1, [[0x20, 0x01, 0x0d, 0xb8].to_vec(), vec![0; 11], vec![1]].concat(), vec!["2001:db8::1"]),
        ("BFloat16", 1, vec![0xc0, 0x3f], vec!["1.5"]),
        ("Map(String, Nullable(Int32))", 2, map, vec!["{\"k\":7,\"l\":null}", "{}"]),
        (
            "Tuple(a UInt8, `b c` UUID)",
            1,
            vec![9; 17],
            vec!["{\"a\":9,\"b c\":\"09090909-0909-0909-0909-090909090909\"}"],
        ),
        (
            "Array(Tuple(Float64, DateTime64(3)))",
            1,
            [1_u64.to_le_bytes(), f64::NAN.to_le_bytes(), 0_i64.to_le_bytes()].concat(),
            vec!["[[\"NaN\",\"1970-01-01T00:00:00.000Z\"]]"],
        ),
        (
            "Array(LowCardinality(String))",
            2,
            [
                1_u64.to_le_bytes().to_vec(),
                0_u64.to_le_bytes().to_vec(),
                2_u64.to_le_bytes().to_vec(),
                0x601_u64.to_le_bytes().to_vec(),
                2_u64.to_le_bytes().to_vec(),
                vec![0, 1, b'v'],
                2_u64.to_le_bytes().to_vec(),
                vec![1, 0, 0, 0],
            ]
            .concat(),
            vec!["{}", "{v,}"],
        ),
        ("Nullable(Nothing)", 1, vec![1, 0], vec!["null"]),
        ("Enum16('é' = 300)", 1, 300_i16.to_le_bytes().to_vec(), vec!["é"]),
    ] {
        let answer = block("c", of, rows, &data);
        for pieces in [&[usize::MAX][..], &[1], &[3, 5]] {
            let found =
                rows_of(&answer, &[("c", of)], pieces).unwrap_or_else(|error| panic!("{of}: {error}"));
            let found: Vec<_> = found.iter().map(|row| row[0].as_str()).collect();
            assert_eq!(found, expected, "{of}");
        }
    }
}

#[test]
fn a_value_that_its_column_cannot_have_costs_its_row() {
    let of = |text: &str, rows: u8, data: &[u8], binary: bool| {
        let fields = fields(&[("c", text)]);
        let mut blocks = Blocks::new(&fields);
        blocks.push(&block("c", text, rows, data)).unwrap();
        blocks.finish().unwrap();
        read(&mut blocks, &fields, binary)
    };
    let (rows, bad) = of("String", 3, &[1, b'a', 2, 0xc3, 0x28, 2, 0xc3, 0xa9], false);
    assert_eq!(rows, [["a"], ["null"], ["é"]]);
    assert_eq!((bad[0].row, bad[0].code, bad[0].value.as_str()), (1, "bad_utf8", "\\xc328"));
    assert!(bad[0].reason.contains("binary="), "{}", bad[0].reason);
    let (rows, bad) = of("String", 2, &[2, 0xc3, 0x28, 0], true);
    assert_eq!((rows, bad.len()), (vec![vec!["\\xc328".to_owned()], vec!["\\x".to_owned()]], 0));
    // Two texts that are UTF-8 only together.
    let (_, bad) = of("String", 2, &[1, 0xc3, 1, 0xa9], false);
    assert_eq!(bad.len(), 2);
    let (rows, _) = of("FixedString(4)", 2, b"a\0b\0\0\0\0\0", true);
    assert_eq!(rows, [["\\x61006200"], ["\\x00000000"]]);
    let (rows, _) = of("FixedString(4)", 2, b"a\0b\0\0\0\0\0", false);
    assert_eq!(rows, [["a\0b"], [""]]);
    let (_, bad) = of("Enum8('a' = 1)", 1, &[2], false);
    assert_eq!((bad[0].row, bad[0].code), (0, "bad_value"));
    let (_, bad) = of("DateTime64(7)", 1, &i64::MAX.to_le_bytes(), false);
    assert_eq!(bad[0].code, "timestamp_out_of_range");
    // Within JSON bytes have no place: binary= does not help.
    let data = [&1_u64.to_le_bytes()[..], &[1, b'k', 1, 0xff]].concat();
    let (_, bad) = of("Map(String, String)", 1, &data, true);
    assert!(bad[0].code == "bad_utf8" && bad[0].reason.contains("columns="), "{}", bad[0].reason);
    assert!(!bad[0].reason.contains("binary="), "{}", bad[0].reason);
    // The second row's list has the bad one.
    let data = [&1_u64.to_le_bytes()[..], &3_u64.to_le_bytes(), &[1, b'a', 1, b'b', 1, 0xff]].concat();
    let (rows, bad) = of("Array(String)", 2, &data, false);
    assert_eq!((bad[0].row, rows[0][0].as_str()), (1, "{a}"));
}

/// A dictionary is spread out for as long as that fits a block only.
#[test]
fn a_long_value_that_many_rows_share_is_bounded() {
    const ROWS: u64 = 2_000;
    let long = vec![b'x'; 1 << 20];
    let mut answer = vec![1];
    let mut rows = ROWS;
    while rows >= 0x80 {
        answer.push(rows as u8 | 0x80);
        rows >>= 7;
    }
    answer.push(rows as u8);
    answer.extend([1, b'c', 22]);
    answer.extend(b"LowCardinality(String)");
    for word in [1_u64, 0x600, 1] {
        answer.extend(word.to_le_bytes());
    }
    // 1 MiB as a number of seven bits a byte.
    answer.extend([0x80, 0x80, 0x40]);
    answer.extend(&long);
    answer.extend(ROWS.to_le_bytes());
    answer.extend(vec![0; ROWS as usize]);
    let fields = fields(&[("c", "LowCardinality(String)")]);
    let mut blocks = Blocks::new(&fields);
    let error = blocks.push(&answer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert!(blocks.bytes() < 700 << 20, "{}", blocks.bytes());
    assert!(error.hint().is_some_and(|hint| hint.contains("batch_rows=")), "{error}");
}

/// What the server complains of in the middle of an answer is never taken for rows, however it is cut.
#[test]
fn a_complaint_among_rows_is_an_error() {
    let columns = [("c", "UInt8")];
    for (said, code) in [
        (
            "Code: 395, e.displayText() = DB::Exception: Value passed to 'throwIf' function is non zero, e.what() = DB::Exception\n",
            "395",
        ),
        (
            "Code: 241. DB::Exception: Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED) (version 24.8.1.1)\n",
            "241",
        ),
        (
            "__exception__\r\nabcdefghijklmnop\r\nCode: 159. DB::Exception: Timeout exceeded. (TIMEOUT_EXCEEDED)\r\n100 abcdefghijklmnop\r\n__exception__\r\n",
            "159",
        ),
    ] {
        let answer = [block("c", "UInt8", 3, &[1, 2, 3]), said.as_bytes().to_vec()].concat();
        for pieces in [&[usize::MAX][..], &[1], &[7, 2]] {
            let error = rows_of(&answer, &columns, pieces).unwrap_err();
            assert_eq!(error.code(), Some(code), "{error}");
        }
    }
    let whole = block("c", "UInt8", 3, &[1, 2, 3]);
    let error = rows_of(&whole[..whole.len() - 1], &columns, &[2]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = rows_of(&block("c", "UInt16", 1, &[1, 2]), &columns, &[2]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("UInt16 where it was UInt8"), "{error}");
    assert_eq!(rows_of(b"<html>", &columns, &[2]).unwrap_err().kind(), ErrorKind::Protocol);
    assert!(rows_of(b"", &columns, &[2]).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn however_an_answer_is_cut_its_rows_are_the_same(pieces in prop::collection::vec(1_usize..90, 1..12)) {
        let once = bytes(RECORDED);
        let answer = [once.clone(), once].concat();
        let whole = rows_of(&answer, &COLUMNS, &[usize::MAX]).unwrap();
        prop_assert_eq!(whole.len(), 4);
        prop_assert_eq!(rows_of(&answer, &COLUMNS, &pieces).unwrap(), whole);
    }

    #[test]
    fn whatever_the_bytes_they_are_rows_or_an_error(changes in prop::collection::vec((0_usize..700, any::<u8>()), 1..6), cut in 0_usize..700) {
        let mut answer = bytes(RECORDED);
        for (at, byte) in changes {
            let len = answer.len();
            answer[at % len] = byte;
        }
        answer.truncate(cut.max(40));
        let whole = rows_of(&answer, &COLUMNS, &[usize::MAX]).map_err(|error| error.kind());
        let cut = rows_of(&answer, &COLUMNS, &[11, 3]).map_err(|error| error.kind());
        prop_assert_eq!(whole, cut);
    }
}

fn options(address: &str) -> kwsync_core::Result<ClickHouseOptions> {
    let dsn: Dsn = address.parse()?;
    ClickHouseOptions::from_dsn(&dsn, &Params::parse("clickhouse", PARAMS, dsn.params())?)
}

#[test]
fn addresses_and_what_contradicts_itself() {
    let made =
        options("jdbc:clickhouse://h/shop?user=me&password=secret&ssl=true&tables=a,b&binary=*").unwrap();
    assert_eq!((made.database.as_str(), made.http[0].port, made.http[0].tls), ("shop", 8123, true));
    assert!(made.is_binary("x") && !format!("{made:?}").contains("secret"), "{made:?}");
    assert_eq!(options("clickhouse://h:9999?table=a").unwrap().database, "default");
    for (tables, several) in [
        ("a,b*", false),
        ("d.a,b", false),
        ("x.a,x.*", false),
        ("a,x.a", true),
        ("*.a", true),
        ("d*.a", true),
    ] {
        let made = options(&format!("clickhouse://h/d?tables={tables}")).unwrap();
        assert_eq!(made.of_several(), several, "{tables}");
    }
    for (address, words) in [
        ("clickhouse:///d?table=t", "names no server"),
        ("clickhouse://h/d", "does not say what to read"),
        ("clickhouse+native://h/d?table=t", "is not reached by \"native\""),
        ("clickhouse://h/d?query=SELECT 1&where=x", "`where` goes with tables"),
        ("clickhouse://h/d?query=SELECT 1&tables=a,b", "one table"),
        ("clickhouse://h/d?table=t&cursor=a&split_by=b", "two ways to read"),
        ("clickhouse://h/d?table=t&mode=all", "needs a column"),
        ("clickhouse://h/d?table=t&spilt_by=x", "did you mean `split_by`?"),
    ] {
        let error = options(address).unwrap_err();
        assert!(error.to_string().contains(words), "{address}: {error}");
    }
}
