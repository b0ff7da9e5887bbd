//! Every mode by every strategy, against a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use kwsync_core::system::postgres::profile::Server;
use kwsync_core::testkit::PgServer;
use kwsync_core::{Column, DataType, RowCounts, Schema, TableBatch, Value};
use kwsync_sinks::postgres::{Duplicates, Mode, Sort, Strategy};

use super::support::{Random, load, options};

type Row = (i64, String, i64);

fn batch(rows: &[Row]) -> TableBatch {
    let columns = vec![
        Column::new("v", DataType::Int64),
        Column::new("a", DataType::Int64),
        Column::new("b", DataType::Text),
    ];
    let schema = Arc::new(Schema::new(columns).unwrap());
    let rows: Vec<_> = rows
        .iter()
        .map(|(a, b, v)| vec![Value::Int(*v), Value::Int(*a), Value::Text(b.as_str().into())])
        .collect();
    TableBatch::from_rows("t", schema, &rows).unwrap()
}

/// What the table holds, and what has become of the rows.
#[derive(Debug, Default, PartialEq)]
struct Model {
    rows: BTreeMap<(i64, String), i64>,
    counts: (u64, u64, u64, u64),
}

impl Model {
    fn load(&mut self, batch: &[Row], mode: Mode, duplicates: Duplicates) {
        let mut taken = BTreeMap::new();
        for (a, b, v) in batch {
            let key = (*a, b.clone());
            if matches!(mode, Mode::Upsert | Mode::Update)
                && let Some(first) = taken.get(&key).copied()
            {
                // One of both gives way: what the first did is undone for the last, or the second does nothing.
                match duplicates {
                    Duplicates::Last => {
                        self.counts.2 += 1;
                        if mode == Mode::Upsert || first {
                            self.rows.insert(key, *v);
                        }
                    }
                    Duplicates::First => self.counts.2 += 1,
                    Duplicates::Error => self.counts.3 += 1,
                }
                continue;
            }
            let there = self.rows.contains_key(&key);
            taken.insert(key.clone(), there);
            match (mode, there) {
                (Mode::Upsert | Mode::Update, true) => {
                    self.rows.insert(key, *v);
                    self.counts.1 += 1;
                }
                (Mode::Update, false) | (Mode::InsertIgnore, true) => self.counts.2 += 1,
                (_, true) => self.counts.3 += 1,
                (_, false) => {
                    self.rows.insert(key, *v);
                    self.counts.0 += 1;
                }
            }
        }
    }
}

#[tokio::test]
async fn every_mode_by_every_strategy() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let mut random = Random::new();
    let modes = [Mode::Insert, Mode::InsertIgnore, Mode::Upsert, Mode::Update];
    let strategies = [
        Strategy::Auto,
        Strategy::CopyBinary,
        Strategy::CopyText,
        Strategy::CopyCsv,
        Strategy::Merge,
        Strategy::Insert,
        Strategy::Unnest,
    ];
    for ddl in [
        "CREATE TABLE t (a bigint, b varchar(30), v bigint, note text DEFAULT 'x', PRIMARY KEY (a, b))",
        "CREATE TABLE t (a bigint, b varchar(30), v bigint, PRIMARY KEY (b, a)) PARTITION BY HASH (a);
         CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    ] {
        for mode in modes {
            for strategy in strategies {
                let plain = mode == Mode::Insert;
                let copies = [Strategy::CopyBinary, Strategy::CopyText, Strategy::CopyCsv];
                if (copies.contains(&strategy) && !plain)
                    || (mode == Mode::Update && matches!(strategy, Strategy::Insert | Strategy::Unnest))
                {
                    continue;
                }
                for duplicates in [Duplicates::Last, Duplicates::First, Duplicates::Error] {
                    if plain && duplicates != Duplicates::Last {
                        continue;
                    }
                    server.psql(&database, &format!("DROP TABLE IF EXISTS t; {ddl}"));
                    server.psql(
                        &database,
                        "INSERT INTO t (a, b, v) SELECT n, 'key ' || n % 3, -1 FROM generate_series(1, 40) n",
                    );
                    let rows = (1..=40).map(|n| ((n, format!("key {}", n % 3)), -1)).collect();
                    let mut model = Model { rows, ..Model::default() };
                    let batches: Vec<Vec<Row>> = (0..3)
                        .map(|_| {
                            let rows = 1 + random.below(60);
                            let mut row = |_| {
                                let a = random.below(80) as i64;
                                (a, format!("key {}", a % 3), random.below(1_000) as i64)
                            };
                            (0..rows).map(&mut row).collect()
                        })
                        .collect();
                    batches.iter().for_each(|rows| model.load(rows, mode, duplicates));
                    let mut options = options(server, &database).with_mode(mode).with_strategy(strategy);
                    options.duplicates = duplicates;
                    if matches!(strategy, Strategy::Auto | Strategy::Merge) && random.below(3) == 0 {
                        // No ON CONFLICT, no xmax, no SET CONSTRAINTS.
                        options.profile = Some(Server::Greenplum);
                    }
                    options.sort = [Sort::Auto, Sort::None][random.below(2) as usize];
                    if random.below(2) == 0 {
                        options = options.with_key(["a", "b"]);
                    }
                    let what = format!(
                        "{mode} {strategy:?} {duplicates:?} {:?} {:?}",
                        options.sort, options.profile
                    );
                    let given: Vec<_> = batches.iter().map(|rows| batch(rows)).collect();
                    let settled =
                        load(options, &given).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    let RowCounts { written, updated, ignored, rejected, .. } = settled.total();
                    let stored = server.psql(&database, "SELECT a, b, v FROM t ORDER BY a, b");
                    let expected: String =
                        model.rows.iter().map(|((a, b), v)| format!("{a}|{b}|{v}\n")).collect();
                    assert_eq!(stored, expected, "{what}");
                    assert_eq!((written, updated, ignored, rejected), model.counts, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_key_must_be_one() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(
        &database,
        "CREATE TABLE t (a bigint, b text, v bigint);
         CREATE UNIQUE INDEX partial ON t (a) WHERE v > 0; CREATE UNIQUE INDEX expression ON t (lower(b))",
    );
    let rows = [batch(&[(1, "x".to_owned(), 2)])];
    let fails = async |key: &[&str], wanted: &[&str]| {
        let options = options(server, &database).with_mode(Mode::Upsert).with_key(key.iter().copied());
        let error = load(options, &rows).await.unwrap_err();
        wanted.iter().for_each(|part| assert!(error.to_string().contains(part), "{part}: {error}"));
        assert!(error.hint().is_some());
    };
    fails(&[], &["has no unique index"]).await;
    fails(&["a"], &["no unique index over (a): it has none"]).await;
    server.psql(&database, "CREATE UNIQUE INDEX u1 ON t (a, b); CREATE UNIQUE INDEX u2 ON t (v)");
    fails(&[], &["several unique indexes"]).await;
    fails(&["a"], &["it has u1 (a, b); u2 (v)"]).await;
    fails(&["c"], &["it has u1 (a, b); u2 (v)"]).await;
    // A table that is made gets the key as its primary key.
    server.psql(&database, "DROP TABLE t");
    fails(&[], &["does not exist yet"]).await;
    let options = options(server, &database).with_mode(Mode::Upsert).with_key(["a", "b"]);
    for updated in [0, 1] {
        let settled = load(options.clone(), &rows).await.unwrap();
        assert_eq!(settled.total().updated, updated);
    }
}

#[tokio::test]
async fn what_a_trigger_drops_is_ignored_and_what_the_server_calls_equal_is_one_row() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(
        &database,
        "CREATE TABLE t (a bigint, b char(10), v bigint, PRIMARY KEY (a, b));
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF NEW.v < 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;
         CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    );
    let rows = [batch(&[(1, "x".into(), -5), (2, "x".into(), 5)])];
    for strategy in [
        Strategy::CopyText,
        Strategy::CopyCsv,
        Strategy::CopyBinary,
        Strategy::Insert,
        Strategy::Unnest,
        Strategy::Merge,
    ] {
        server.psql(&database, "TRUNCATE t");
        let settled = load(options(server, &database).with_strategy(strategy), &rows).await.unwrap();
        assert_eq!((settled.total().written, settled.total().ignored), (1, 1), "{strategy:?}");
    }
    // Blanks at the end of char(n) do not count: two rows for us, one for the server; the last one stays.
    server.psql(&database, "TRUNCATE t");
    let rows = [batch(&[(1, "x".into(), 1), (1, "x ".into(), 2), (1, "x  ".into(), 3)])];
    let mut options = options(server, &database).with_mode(Mode::Upsert);
    options.sort = Sort::None;
    let settled = load(options, &rows).await.unwrap();
    assert_eq!((settled.total().written, settled.total().updated), (1, 2));
    assert_eq!(server.psql(&database, "SELECT a, v FROM t"), "1|3\n");
}
