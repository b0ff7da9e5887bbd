//! MongoDB as a source, by the command. The server is mongo-java-server, which speaks its wire protocol.

use kwsync_core::testkit::{MongoDocument, MongoServer, PgServer};

use super::kill::{kills, start_and_kill};
use super::support::{Job, Place, until};

fn doc() -> MongoDocument {
    MongoDocument::new()
}

/// Documents with ascending ids.
fn numbered(from: u32, to: u32) -> Vec<MongoDocument> {
    let id = |n: u32| {
        let mut id = [0x66; 12];
        id[8..].copy_from_slice(&n.to_be_bytes());
        id
    };
    (from..to)
        .map(|n| {
            doc()
                .object_id("_id", id(n))
                .int32("n", n as i32)
                .date("at", 1_700_000_000_000 + i64::from(n))
                .text("name", &format!("row {n}"))
        })
        .collect()
}

/// Every kind of value, with documents as JSON and as columns.
#[test]
fn every_type_goes_over_as_it_is() {
    let (Some(from), Some(to)) = (MongoServer::shared(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    let inner = doc().text("city", "Köln").document("geo", &doc().double("lat", 50.94).int32("n", 3));
    let tags = doc().text("0", "a").text("1", "b\"");
    from.insert(
        &source,
        "people",
        &[
            doc()
                .object_id("_id", [0xab; 12])
                .text("name", "é漢")
                .int32("i", -1)
                .int64("l", i64::MAX)
                .double("f", 0.1)
                .boolean("b", true)
                .date("d", 1_714_521_600_123)
                .binary("raw", 0, &[0, 255])
                .binary("u", 4, &[0x11; 16])
                .document("addr", &inner)
                .array("tags", &tags)
                .raw(0x13, "dec", &(12_345_u128 | (6_176_u128 - 3) << 113).to_le_bytes())
                .null("nothing"),
            doc()
                .object_id("_id", [0xac; 12])
                .text("name", "")
                .double("f", 2.0)
                .document("addr", &doc().text("city", "x")),
        ],
    );
    from.insert(&source, "other.things", &[doc().text("_id", "k").int32("n", 1)]);
    let all = format!("{}?tables=*", from.dsn(&source));
    let dry = place.run(&["run", "--from", &all, "--to", &to.dsn(&target), "--dry-run"]).expect(0).out();
    assert!(dry.contains("the columns of people are inferred from 2 documents"), "{dry}");
    place.run(&["run", "--from", &all, "--to", &to.dsn(&target), "--jobs", "2"]).expect(0);
    let found = to.psql(&target, "SET timezone = 'UTC'; SELECT _id, name, i, l, f, b, d, raw, u, addr, tags, dec, nothing IS NULL FROM people ORDER BY _id");
    let rows: Vec<_> = found.lines().skip_while(|line| *line == "SET").collect();
    assert_eq!(
        rows,
        [
            "abababababababababababab|é漢|-1|9223372036854775807|0.1|t|2024-05-01 00:00:00.123+00|\\x00ff|11111111-1111-1111-1111-111111111111|{\"city\":\"Köln\",\"geo\":{\"lat\":50.94,\"n\":3}}|[\"a\",\"b\\\"\"]|12.345|t",
            "acacacacacacacacacacacac||||2|||||{\"city\":\"x\"}|||t",
        ]
    );
    assert_eq!(to.psql(&target, "SELECT _id, n FROM \"other.things\""), "k|1\n");
    place.run(&["verify", "--from", &all, "--to", &format!("{}?tables=*", to.dsn(&target))]).expect(0);
    let ddl = place.run(&["ddl", "--from", &all, "--to", &to.dsn(&to.create_database())]).expect(0).out();
    assert!(ddl.contains("PRIMARY KEY (\"_id\")") && ddl.contains("\"d\" timestamp"), "{ddl}");
    // A column for each field of a document, and some of them by name.
    let other = to.create_database();
    let nested = format!("{}?table=people&nested=columns", from.dsn(&source));
    place.run(&["run", "--from", &nested, "--to", &to.dsn(&other)]).expect(0);
    assert_eq!(
        to.psql(&other, "SELECT \"addr.city\", \"addr.geo.lat\", \"addr.geo.n\" FROM people ORDER BY _id"),
        "Köln|50.94|3\nx||\n"
    );
    let other = to.create_database();
    let chosen = format!(
        "{}?table=people&columns=_id,addr.city,tags&types=tags:array&splitters={{\"tags\":\"/\"}}&where={{\"name\":\"é漢\"}}",
        from.dsn(&source)
    );
    place.run(&["run", "--from", &chosen, "--to", &to.dsn(&other)]).expect(0);
    assert_eq!(to.psql(&other, "SELECT * FROM people"), "abababababababababababab|Köln|a/b\"\n");
}

/// Killed at random moments and started again: no document is missing and none is there twice.
#[test]
fn killed_and_started_again() {
    let (Some(from), Some(to)) = (MongoServer::shared(), PgServer::shared()) else { return };
    let (kills, mut random) = kills();
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.insert(&source, "t", &numbered(0, 30_000));
    let dsn = format!("{}?table=t&splits=4&batch_rows=500", from.dsn(&source));
    let to_dsn = to.dsn(&target);
    let fixed = ["run", "--from", &dsn, "--to", &to_dsn, "--jobs", "2", "--commit-rows", "1000", "--quiet"];
    let slow = [&fixed[..], &["--rate-rows", "25000"]].concat();
    for _ in 0..kills.min(4) {
        start_and_kill(&place, &slow, &mut random);
    }
    place.run(&fixed).expect(0);
    assert_eq!(
        to.psql(&target, "SELECT count(*), count(DISTINCT _id), sum(n) FROM t"),
        "30000|30000|449985000\n"
    );
}

/// What is new is read on by a cursor, and later documents with fields that nobody expected are rejects.
#[test]
fn what_is_new_and_what_is_odd() {
    let (Some(from), Some(to)) = (MongoServer::shared(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.insert(&source, "t", &numbered(0, 500));
    let dsn = format!("{}?table=t&cursor=at&sample=500", from.dsn(&source));
    let to_dsn = to.dsn(&target);
    let run = |status: i32| {
        place
            .run(&["run", "--from", &dsn, "--to", &to_dsn, "--job", "news", "--errors", "reject:bad.jsonl"])
            .expect(status)
    };
    run(0);
    from.insert(&source, "t", &numbered(500, 700));
    from.insert(
        &source,
        "t",
        &[
            doc().object_id("_id", [0x77; 12]).int32("n", 1).date("at", 1_800_000_000_000).text("more", "x"),
            doc().object_id("_id", [0x78; 12]).text("n", "many").date("at", 1_800_000_000_001),
        ],
    );
    run(3);
    assert_eq!(to.psql(&target, "SELECT count(*), count(DISTINCT _id), max(n) FROM t"), "700|700|699\n");
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(bad.contains("unknown_field") && bad.contains("type_conflict") && bad.contains("many"), "{bad}");
}

/// A job that does not end: a bad newest document is told once, one whose cursor is a fraction is left out, and so is a collection
/// until it has the field.
#[test]
fn a_job_that_does_not_end_is_not_ended_by_what_is_odd() {
    let (Some(from), Some(to)) = (MongoServer::shared(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.insert(&source, "t", &numbered(0, 100));
    from.insert(
        &source,
        "t",
        &[
            doc().object_id("_id", [0x76; 12]).double("n", 50.5).text("name", "half"),
            doc().object_id("_id", [0x78; 12]).int32("n", 500).text("name", "many").text("more", "x"),
        ],
    );
    let dsn = format!(
        "{}?tables=*&cursor=n&types=n:long&mode=all&sample=100&query_interval=100ms&poll_interval=200ms",
        from.dsn(&source)
    );
    let to_dsn = to.dsn(&target);
    let count = |table: &str| {
        let count = to.try_psql(&target, &format!("SELECT count(*) FROM {table}"), b"").unwrap_or_default();
        String::from_utf8_lossy(&count).trim().parse::<u64>().unwrap_or(0)
    };
    let job = Job::start(&place, &["run", "--from", &dsn, "--to", &to_dsn, "--errors", "reject:bad.jsonl"]);
    until("the documents", || count("t") == 100);
    from.insert(&source, "other", &[doc().int32("_id", 1).text("x", "y")]);
    from.insert(&source, "later", &numbered(0, 3));
    until("a collection that came later", || count("later") == 3);
    from.insert(&source, "t", &numbered(600, 601));
    until("one more", || count("t") == 101);
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert_eq!(bad.matches("\"code\":\"unknown_field\"").count(), 1, "{bad}");
    drop(job);
}

#[test]
fn what_goes_wrong_is_said() {
    let (Some(from), Some(to)) = (MongoServer::shared(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.insert(&source, "orders", &numbered(0, 3));
    let (dsn, to_dsn) = (from.dsn(&source), to.dsn(&target));
    for (address, status, words) in [
        (format!("{dsn}?table=Orders"), 1, "it has orders; case counts"),
        (format!("{}?table=orders", from.dsn("nowhere")), 1, "it has none"),
        (dsn.clone(), 2, "tables=* for all"),
        (format!("{dsn}?table=orders&cursor=name"), 2, "a cursor is a column of integers or dates"),
        (format!("{dsn}?table=orders&where={{\"n\":{{\"$oops\":1}}}}"), 2, "$oops"),
        (format!("{dsn}?table=orders&connect_timeout=1s&tls=true"), 1, "cannot connect to MongoDB"),
        (format!("mongodb://me:s3cr3t@127.0.0.1:{}/{source}?table=orders", from.port()), 1, "saslStart"),
        ("mongodb://127.0.0.1:1/d?table=t".to_owned(), 1, "cannot connect to MongoDB at 127.0.0.1:1"),
    ] {
        let ran = place.run(&["run", "--from", &address, "--to", &to_dsn]);
        let err = ran.err();
        assert!(err.contains(words), "{address}: {words}: {err}");
        assert!(!err.contains("s3cr3t"), "{err}");
        assert_eq!(ran.status(), status, "{address}: {err}");
    }
}

/// A job of DataX with mongodbreader, `_id` among its columns.
#[test]
fn a_job_of_datax_with_mongodbreader() {
    let (Some(from), Some(to)) = (MongoServer::shared(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    let tags = doc().text("0", "x").text("1", "y");
    from.insert(
        &source,
        "cars",
        &[
            doc()
                .object_id("_id", [1; 12])
                .text("plate", "K-1")
                .int32("km", 7)
                .array("tags", &tags)
                .date("at", 1_714_521_600_000)
                .document("owner", &doc().text("name", "Ada")),
            doc().object_id("_id", [2; 12]).text("plate", "K-2").double("km", 8.5),
            doc().object_id("_id", [3; 12]).text("plate", "B-3").int32("km", 9),
        ],
    );
    to.psql(
        &target,
        "CREATE TABLE cars (id text, plate text, km float8, tags text, at timestamptz, owner text)",
    );
    let job = serde_json::json!({"job": {"setting": {"speed": {"channel": 1}}, "content": [{
        "reader": {"name": "mongodbreader", "parameter": {
            "address": [format!("127.0.0.1:{}", from.port())], "userName": "", "userPassword": "", "dbName": source, "collectionName": "cars",
            "query": "{\"plate\": {\"$regex\": \"^K\"}}",
            "column": [{"name": "_id", "type": "string"}, {"name": "plate", "type": "string"}, {"name": "km", "type": "double"},
                {"name": "tags", "type": "Array", "splitter": ";"}, {"name": "at", "type": "date"}, {"name": "owner.name", "type": "document.string"}]}},
        "writer": {"name": "kaiwudbwriter", "parameter": {"username": to.superuser(), "password": to.password(),
            "jdbcUrl": format!("jdbc:kaiwudb://127.0.0.1:{}/{target}", to.port()), "table": "cars",
            "column": ["id", "plate", "km", "tags", "at", "owner"]}}}]}});
    place.write("job.json", job.to_string());
    let out = place.run(&["job", "job.json"]).expect(0).out();
    assert!(out.contains("Total Records Read   : 2\nTotal Failures       : 0\n"), "{out}");
    let found = to.psql(&target, "SET timezone = 'UTC'; SELECT * FROM cars ORDER BY id");
    let rows: Vec<_> = found.lines().skip_while(|line| *line == "SET").collect();
    assert_eq!(
        rows,
        [
            "010101010101010101010101|K-1|7|x;y|2024-05-01 00:00:00+00|Ada",
            "020202020202020202020202|K-2|8.5|||"
        ]
    );
    let template = place.run(&["job", "--template", "mongodbreader", "kaiwudbwriter"]).expect(0).out();
    assert!(template.contains("\"collectionName\": \"COLLECTION\""), "{template}");
}
