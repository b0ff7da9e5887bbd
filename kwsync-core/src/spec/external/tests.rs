use super::*;

const DATABASE: &str = "adb://me:pw@h:3432/db";

fn one(text: &str) -> PipelineSpec {
    let mut made = read("x.sql", text, DATABASE).unwrap();
    assert_eq!(made.specs.len(), 1);
    made.specs.remove(0)
}

fn dsn(address: &super::super::Address) -> Dsn {
    address.dsn().unwrap()
}

/// The examples of the manual, as they stand there.
const EXAMPLES: &str = r#"
# Create an OSS external table for data import.
create readable external table ossexample
(date text, time text, open float, high float,
low float, volume int)
location('oss://oss-cn-hangzhou.aliyuncs.com
prefix=osstest/example id=XXX
key=XXX bucket=testbucket compressiontype=gzip')
FORMAT 'csv' (QUOTE '' DELIMITER E'\t')
ENCODING 'utf8'
LOG ERRORS SEGMENT REJECT LIMIT 5;
create readable external table ossexample2
(date text, time text, open float, high float,
low float, volume int)
location('oss://oss-cn-hangzhou.aliyuncs.com
dir=osstest/ id=XXX
key=XXX bucket=testbucket')
FORMAT 'csv'
LOG ERRORS INTO my_error_rows SEGMENT REJECT LIMIT 5 PERCENT;
# Create an OSS external table for data export.
create WRITABLE external table ossexample_exp
(date text, time text, open float, high float,
low float, volume int)
location('oss://oss-cn-hangzhou.aliyuncs.com
prefix=osstest/exp/outfromhdb id=XXX
key=XXX bucket=testbucket') FORMAT 'csv'
DISTRIBUTED BY (date);
# Create a heap table for data loading.
create table example
(date text, time text, open float,
high float, low float, volume int)
DISTRIBUTED BY (date);
# Import data to the example heap table from the ossexample table in parallel.
insert into example select * from ossexample;
insert into example select * from ossexample2;
# Export data from the example heap table to OSS in parallel.
insert into ossexample_exp select * from example;
explain insert into example select * from ossexample;
select * from gp_read_error_log('external_table_name');
"#;

#[test]
fn the_examples_of_the_manual() {
    let made = read("x.sql", EXAMPLES, DATABASE).unwrap();
    let [first, second, third] = made.specs.as_slice() else { panic!("{:?}", made.specs) };
    let from = dsn(&first.from);
    let given = |name: &str| from.get(name).unwrap_or_default();
    assert_eq!((from.driver(), from.hosts()[0].name()), ("oss", "oss-cn-hangzhou.aliyuncs.com"));
    assert_eq!(
        (given("prefix"), given("bucket"), given("compressiontype")),
        ("osstest/example", "testbucket", "gzip")
    );
    assert_eq!(
        (given("format"), given("quote"), given("delimiter"), given("encoding")),
        ("csv", "off", "\\t", "utf8")
    );
    assert_eq!(
        given("columns"),
        "\"date\" text, \"time\" text, \"open\" float, \"high\" float, \"low\" float, \"volume\" int"
    );
    assert_eq!((given("table"), dsn(&first.to).get("create")), ("example", Some("never")));
    let made_by_us = read("x.sql", EXAMPLES, "adb://me:pw@h:3432/db?create=missing").unwrap();
    assert_eq!(dsn(&made_by_us.specs[0].to).get("create"), Some("missing"));
    assert_eq!(first.errors, ErrorPolicy::Reject("ossexample.jsonl".into()));
    assert_eq!(first.max_errors, "5".parse().unwrap());
    let from = dsn(&second.from);
    assert_eq!((from.get("dir"), from.get("compressiontype")), (Some("osstest/"), Some("none")));
    assert_eq!(second.errors, ErrorPolicy::Reject("my_error_rows.jsonl".into()));
    assert_eq!(second.max_errors, "5%".parse().unwrap());
    let (from, to) = (dsn(&third.from), dsn(&third.to));
    assert_eq!((from.driver(), from.get("table"), from.get("query")), ("adb", Some("example"), None));
    assert_eq!(
        (to.get("prefix"), to.get("format"), to.get("columns")),
        (Some("osstest/exp/outfromhdb"), Some("csv"), None)
    );
    assert_eq!(made.notes.len(), 5, "{:?}", made.notes);
}

#[test]
fn options_of_formats() {
    let spec = one("CREATE EXTERNAL TABLE e (\"A b\" numeric(10, 2), c timestamp without time zone, d TIMESTAMP WITH TIME ZONE)
        LOCATION ('oss://h prefix=p id=i key=k bucket=b') FORMAT 'TEXT' ((HEADER DELIMITER AS '|' NULL AS '' ESCAPE 'OFF'
        NEWLINE AS 'CRLF' FILL MISSING FIELDS))
        INSERT INTO s.\"T x\" SELECT * FROM e");
    let (from, to) = (dsn(&spec.from), dsn(&spec.to));
    assert_eq!(from.get("columns"), Some("\"A b\" numeric(10,2), \"c\" timestamp, \"d\" timestamptz"));
    for (name, value) in [
        ("format", "text"),
        ("header", "true"),
        ("delimiter", "|"),
        ("null", "''"),
        ("escape", "OFF"),
        ("newline", "CRLF"),
        ("fill_missing_fields", "true"),
        ("table", "T x"),
    ] {
        assert_eq!(from.get(name), Some(value), "{name}");
    }
    assert_eq!((to.get("schema"), spec.errors), (Some("s"), ErrorPolicy::Fail));
    let spec =
        one("CREATE WRITABLE EXTERNAL TABLE e (LIKE t) LOCATION ('oss://h dir=d/ id=i key=k bucket=b')
        FORMAT 'CSV' (FORCE QUOTE a, b FORCE NOT NULL c QUOTE '''') DISTRIBUTED RANDOMLY;
        INSERT INTO e SELECT a, b -- two
        FROM s.t WHERE a > ';';");
    let (from, to) = (dsn(&spec.from), dsn(&spec.to));
    assert_eq!(
        (to.get("force_quote"), to.get("force_not_null"), to.get("quote")),
        (Some("a,b"), Some("c"), Some("'"))
    );
    assert_eq!(from.get("query"), Some("SELECT a, b -- two\n        FROM s.t WHERE a > ';'"));
    assert_eq!(from.get("table"), Some("e"));
}

#[test]
fn files_of_rejects() {
    let text =
        "CREATE EXTERNAL TABLE e (a int) LOCATION ('oss://h prefix=p id=i key=k bucket=b') FORMAT 'CSV'
        LOG ERRORS INTO \"../../etc/x\"; INSERT INTO t SELECT * FROM e; INSERT INTO u SELECT * FROM e;";
    let made = read("x.sql", text, DATABASE).unwrap();
    let files = ["______etc_x.jsonl", "______etc_x-2.jsonl"];
    for (spec, file) in made.specs.iter().zip(files) {
        assert_eq!(spec.errors, ErrorPolicy::Reject(file.into()));
        assert!(made.notes.iter().any(|note| note.ends_with(file)), "{:?}", made.notes);
    }
}

#[test]
fn no_form_of_quotes_shows_a_secret() {
    for quoted in
        ["\"oss://h key=hunter2\"", "$$oss://h key=hunter2$$", "N'oss://h key=hunter2'", "U&'key=hunter2'"]
    {
        let text = format!("CREATE EXTERNAL TABLE e (a int) LOCATION({quoted}) FORMAT 'CSV'");
        let error = read("x.sql", &text, DATABASE).unwrap_err();
        assert!(!format!("{error:?}{}", error.report()).contains("hunter2"), "{error:?}");
    }
}

#[test]
fn faults_say_where_and_what() {
    let table = |rest: &str| {
        format!(
            "CREATE EXTERNAL TABLE e (a int) LOCATION ('oss://h prefix=p id=i key=hunter2 bucket=b') FORMAT 'CSV' {rest}"
        )
    };
    for (text, expected) in [
        (table(""), "moves no rows"),
        (table("; INSERT INTO e SELECT * FROM t"), "the external table e is readable"),
        (table("; INSERT INTO t SELECT * FROM f"), "neither side is an external table"),
        (table("; INSERT INTO t SELECT a FROM e"), "all columns are read, by SELECT *"),
        (table("(DELIMTER ',')"), "line 1, column 103: `DELIMTER` where HEADER, DELIMITER"),
        (table("REJECT LIMIT 5"), "`REJECT` where ENCODING"),
        (table("").replace("LOCATION", "EXECUTE"), "`EXECUTE` where LOCATION belongs"),
        (table("").replace("oss://h", "gphdfs://h"), "only oss: and s3: are known"),
        (table("").replace("'CSV'", "'AVRO'"), "neither TEXT nor CSV"),
        (
            table("").replace("a int", "LIKE t") + "; INSERT INTO t SELECT * FROM e",
            "takes its columns from another table",
        ),
        (
            "DELETE FROM t".to_owned(),
            "line 1, column 1: `DELETE` where CREATE EXTERNAL TABLE or INSERT INTO belongs",
        ),
        (table("").replace(") LOCATION", " LOCATION"), "x.sql: "),
    ] {
        let error = read("x.sql", &text, DATABASE).unwrap_err().report();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
    }
}
