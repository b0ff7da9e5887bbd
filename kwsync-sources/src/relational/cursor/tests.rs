//! The same tests on every database that reads by a cursor.

use std::collections::BTreeSet;
use std::time::Duration;

use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::{
    DynReader, DynSource, Error, ErrorKind, Result, SourceBatch, Split, SplitPosition, TableBatch, Value,
};

/// A database on a real server.
enum Db {
    #[cfg(feature = "postgres")]
    Postgres(&'static kwsync_core::testkit::PgServer, String),
    /// PostgreSQL by the source for KWDB.
    #[cfg(feature = "kwdb")]
    Kwdb(&'static kwsync_core::testkit::PgServer, String),
    #[cfg(feature = "mysql")]
    Maria(&'static kwsync_core::testkit::MariaServer, String),
}

impl Db {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(feature = "postgres")]
        all.extend(
            kwsync_core::testkit::PgServer::shared()
                .map(|server| Self::Postgres(server, server.create_database())),
        );
        #[cfg(feature = "kwdb")]
        all.extend(
            kwsync_core::testkit::PgServer::shared()
                .map(|server| Self::Kwdb(server, server.create_database())),
        );
        #[cfg(feature = "mysql")]
        all.extend(
            kwsync_core::testkit::MariaServer::shared()
                .map(|server| Self::Maria(server, server.create_database())),
        );
        all
    }

    fn sql(&self, sql: &str) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(server, db) => drop(server.psql(db, sql)),
            #[cfg(feature = "kwdb")]
            Self::Kwdb(server, db) => drop(server.psql(db, sql)),
            #[cfg(feature = "mysql")]
            Self::Maria(server, db) => {
                // The clock in the zone of the sessions.
                let sql = sql.replace("timestamp", "datetime(6)");
                drop(server.sql(db, &format!("SET time_zone = '+00:00'; {sql}")));
            }
        }
    }

    fn source(&self, parameters: &str) -> Result<Box<dyn DynSource>> {
        let mut registry = Registry::new();
        crate::register(&mut registry);
        let address = match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(server, db) => server.dsn(db),
            #[cfg(feature = "kwdb")]
            Self::Kwdb(server, db) => server.dsn(db).replacen("postgres://", "kwdb://", 1),
            #[cfg(feature = "mysql")]
            Self::Maria(server, db) => server.dsn(db),
        };
        registry.source(&format!("{address}?{parameters}").parse()?, &OpenOptions::new())
    }

    fn finds_its_cursor(&self) -> bool {
        match self {
            #[cfg(feature = "kwdb")]
            Self::Kwdb(..) => true,
            _ => false,
        }
    }

    /// The present moment less so many seconds.
    fn ago(&self, seconds: u32) -> String {
        let now = |clock: &str| format!("({clock} - interval '{seconds}' second)");
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(..) => now("clock_timestamp() AT TIME ZONE 'UTC'"),
            #[cfg(feature = "kwdb")]
            Self::Kwdb(..) => now("clock_timestamp() AT TIME ZONE 'UTC'"),
            #[cfg(feature = "mysql")]
            Self::Maria(..) => now("UTC_TIMESTAMP(6)"),
        }
    }
}

fn column(batches: &[TableBatch], name: &str) -> Vec<String> {
    let values = |batch: &TableBatch| -> Vec<String> {
        (0..batch.rows()).map(|row| batch.row(row).get(name).unwrap().to_string()).collect()
    };
    batches.iter().flat_map(values).collect()
}

fn rows(batch: &SourceBatch) -> usize {
    batch.decoded.batches.iter().map(TableBatch::rows).sum()
}

/// What a split gives to its end, batch by batch.
async fn read(source: &dyn DynSource, split: &Split, at: Option<&SplitPosition>) -> Vec<SourceBatch> {
    let mut reader = source.open(split, at).await.unwrap();
    let mut all = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        assert_eq!(batch.decoded.counts.records as usize, rows(&batch) + batch.decoded.rejects.len());
        all.push(batch);
    }
    all
}

fn numbers(batches: &[SourceBatch], name: &str) -> Vec<i64> {
    let texts = batches.iter().flat_map(|batch| column(&batch.decoded.batches, name));
    texts.map(|text| text.parse().unwrap()).collect()
}

fn last(batches: &[SourceBatch]) -> SplitPosition {
    batches.last().unwrap().position.clone()
}

/// The next batch that has rows, of a reader that never ends.
async fn next(reader: &mut dyn DynReader) -> SourceBatch {
    let waiting = async {
        loop {
            let batch = reader.next().await.unwrap().unwrap();
            if rows(&batch) > 0 {
                return batch;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.unwrap()
}

fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error,
    }
}

/// Ten values of seven rows each, in pages of three rows: no value is cut, and wherever a run ends, the next gives the
/// rest.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_never_cut_and_runs_go_on() {
    for db in Db::all() {
        db.sql("CREATE TABLE t (n int, at timestamp, s varchar(9))");
        let values = (0..70).map(|n| format!("({n}, '2024-05-01 10:00:0{}.5', 'x')", n / 7));
        db.sql(&format!("INSERT INTO t VALUES {}", values.collect::<Vec<_>>().join(",")));
        let source = db.source("table=t&cursor=at&fetch_rows=3").unwrap();
        let splits = source.splits(4, &[]).await.unwrap();
        assert!(splits.len() == 1 && splits[0].continues && splits[0].resumable);
        let all = read(source.as_ref(), &splits[0], None).await;
        assert_eq!(numbers(&all, "n").into_iter().collect::<BTreeSet<_>>(), (0..70).collect());
        assert_eq!(numbers(&all, "n").len(), 70);
        for batch in &all {
            let whole: Vec<_> = numbers(std::slice::from_ref(batch), "n");
            assert_eq!(whole.len() % 7, 0, "{whole:?}");
        }
        assert!(all.len() >= 10);
        // From each position on, what had not been given comes, and nothing else.
        for at in 0..all.len() {
            let rest = read(source.as_ref(), &splits[0], Some(&all[at].position)).await;
            let mut both: Vec<_> = [numbers(&all[..=at], "n"), numbers(&rest, "n")].concat();
            both.sort_unstable();
            assert_eq!(both, (0..70).collect::<Vec<_>>(), "{at}");
        }
        // Rows of the last value that come later, one of them equal to one that is there; and rows behind it.
        db.sql("INSERT INTO t VALUES (69, '2024-05-01 10:00:09.5', 'x'), (70, '2024-05-01 10:00:09.5', 'x'), (71, '2024-05-02 00:00:00', 'x')");
        let more = read(source.as_ref(), &splits[0], Some(&last(&all))).await;
        let mut new = numbers(&more, "n");
        new.sort_unstable();
        assert_eq!(new, [69, 70, 71]);
        assert!(numbers(&read(source.as_ref(), &splits[0], Some(&last(&more))).await, "n").is_empty());
        // One is read already, the other is not to be read.
        let bounded =
            db.source("table=t&cursor=at&begin=2024-05-01 10:00:03.5&end=2024-05-01 10:00:05.5").unwrap();
        let splits = bounded.splits(1, &[]).await.unwrap();
        assert_eq!(numbers(&read(bounded.as_ref(), &splits[0], None).await, "n").len(), 14);
    }
}

/// A unique column needs no memory of rows; an overlap finds what came late.
#[tokio::test(flavor = "multi_thread")]
async fn an_overlap_finds_rows_that_came_late() {
    for db in Db::all() {
        db.sql("CREATE TABLE t (id bigint PRIMARY KEY, s varchar(9))");
        let insert = |ids: &[i64]| {
            let values: Vec<_> = ids.iter().map(|id| format!("({id}, 'x')")).collect();
            db.sql(&format!("INSERT INTO t VALUES {}", values.join(",")));
        };
        insert(&(1..=100).filter(|id| ![20, 93, 95].contains(id)).collect::<Vec<_>>());
        for (parameters, late) in [("overlap=10&fetch_rows=7", &[93, 95][..]), ("fetch_rows=7", &[])] {
            let source = db.source(&format!("table=t&cursor=id&{parameters}")).unwrap();
            let splits = source.splits(1, &[]).await.unwrap();
            let all = read(source.as_ref(), &splits[0], None).await;
            assert_eq!(numbers(&all, "id").len(), 97);
            let position = last(&all);
            assert_eq!(position.0.to_string().contains("seen"), !late.is_empty());
            insert(&[20, 93, 95, 101]);
            let more = read(source.as_ref(), &splits[0], Some(&position)).await;
            assert_eq!(numbers(&more, "id"), [late, &[101]].concat());
            let again = read(source.as_ref(), &splits[0], Some(&last(&more))).await;
            assert!(numbers(&again, "id").is_empty());
            db.sql("DELETE FROM t WHERE id IN (20, 93, 95, 101)");
        }
        // Of integers a lag is a distance to the greatest.
        let source = db.source("table=t&cursor=id&lag=4").unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        let all = read(source.as_ref(), &splits[0], None).await;
        assert_eq!(numbers(&all, "id").last(), Some(&96));
        insert(&[93, 95]);
        insert(&[104]);
        // 93 and 95 came later than the lag allows; 97 to 100 are in order.
        assert_eq!(
            numbers(&read(source.as_ref(), &splits[0], Some(&last(&all))).await, "id"),
            [97, 98, 99, 100]
        );
    }
}

/// Reading goes on: rows that are late by less than the lag come in order, and a row of the future comes not at all.
#[tokio::test(flavor = "multi_thread")]
async fn rows_within_the_lag_come_in_order() {
    for db in Db::all() {
        db.sql("CREATE TABLE t (n int, at timestamp)");
        db.sql(&format!("INSERT INTO t VALUES (1, {}), (9, '2970-01-01 00:00:00')", db.ago(3600)));
        let source = db.source("table=t&cursor=at&mode=all&lag=5s&query_interval=20ms").unwrap();
        let splits = source.splits(3, &[]).await.unwrap();
        assert_eq!(splits.len(), 1);
        let mut reader = source.open(&splits[0], None).await.unwrap();
        assert_eq!(numbers(&[next(reader.as_mut()).await], "n"), [1]);
        db.sql(&format!("INSERT INTO t VALUES (3, {})", db.ago(0)));
        db.sql(&format!("INSERT INTO t VALUES (2, {})", db.ago(1)));
        let mut got = Vec::new();
        let mut position = None;
        while got.len() < 2 {
            let batch = next(reader.as_mut()).await;
            position = Some(batch.position.clone());
            got.extend(numbers(&[batch], "n"));
        }
        assert_eq!(got, [2, 3]);
        drop(reader);
        // Where one ended, another goes on.
        db.sql(&format!("INSERT INTO t VALUES (4, {})", db.ago(0)));
        let known = source.splits(3, &splits).await.unwrap();
        assert_eq!(known, splits);
        let mut reader = source.open(&splits[0], position.as_ref()).await.unwrap();
        assert_eq!(numbers(&[next(reader.as_mut()).await], "n"), [4]);
    }
}

/// Tables that are followed are dealt out to lanes, one that appears to one of them; each row comes once.
#[tokio::test(flavor = "multi_thread")]
async fn followed_tables_are_dealt_to_lanes() {
    for db in Db::all() {
        for table in ["a", "b", "c"] {
            db.sql(&format!("CREATE TABLE {table} (n int PRIMARY KEY)"));
            db.sql(&format!("INSERT INTO {table} VALUES (1), (2)"));
        }
        let source = db.source("tables=*&cursor=n&mode=all&query_interval=20ms&poll_interval=50ms").unwrap();
        let splits = source.splits(2, &[]).await.unwrap();
        assert_eq!(splits.iter().map(|split| &*split.id).collect::<Vec<_>>(), ["follow#1", "follow#2"]);
        assert_eq!(source.splits(4, &splits).await.unwrap(), splits);
        let few = source.splits(1, &splits).await.unwrap_err();
        assert!(few.to_string().contains("by 2 lanes, and has 1 now"), "{few}");
        let mut readers = Vec::new();
        for split in &splits {
            readers.push(source.open(split, None).await.unwrap());
        }
        let mut rows: Vec<Vec<String>> = vec![Vec::new(); 2];
        for (reader, rows) in readers.iter_mut().zip(&mut rows) {
            while rows.len() < if rows.iter().any(|row| row.starts_with('a')) { 4 } else { 2 } {
                rows.extend(named(&next(reader.as_mut()).await));
            }
        }
        rows.iter_mut().for_each(|rows| rows.sort());
        assert_eq!(rows, [vec!["a 1", "a 2", "c 1", "c 2"], vec!["b 1", "b 2"]]);
        db.sql("CREATE TABLE late (n int PRIMARY KEY)");
        db.sql("INSERT INTO late VALUES (7)");
        let (first, second) = readers.split_at_mut(1);
        // One of the two has it; the other one waits for ever.
        let found = tokio::select! {
            found = next(first[0].as_mut()) => found,
            found = next(second[0].as_mut()) => found,
        };
        assert_eq!(named(&found), ["late 7"]);
    }
}

/// Table and `n` of each row.
fn named(batch: &SourceBatch) -> Vec<String> {
    let of = |batch: &TableBatch| {
        let name = batch.table().name().to_owned();
        column(std::slice::from_ref(batch), "n").into_iter().map(move |n| format!("{name} {n}"))
    };
    batch.decoded.batches.iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn realtime_begins_now_or_a_little_before() {
    for db in Db::all() {
        db.sql("CREATE TABLE t (n int, at timestamp); CREATE TABLE i (n int PRIMARY KEY)");
        db.sql(&format!("INSERT INTO t VALUES (1, {}), (2, {})", db.ago(7200), db.ago(600)));
        db.sql("INSERT INTO i VALUES (1), (2), (3)");
        let source =
            db.source("table=t&cursor=at&mode=realtime&restro=30m&interval=20ms&excursion=0s").unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        // What comes between planning and reading is of now.
        db.sql(&format!("INSERT INTO t VALUES (3, {})", db.ago(0)));
        let mut reader = source.open(&splits[0], None).await.unwrap();
        let mut got = numbers(&[next(reader.as_mut()).await], "n");
        if got.len() < 2 {
            got.extend(numbers(&[next(reader.as_mut()).await], "n"));
        }
        assert_eq!(got, [2, 3]);
        let source = db.source("table=i&cursor=n&mode=realtime&query_interval=20ms").unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        db.sql("INSERT INTO i VALUES (4)");
        let mut reader = source.open(&splits[0], None).await.unwrap();
        assert_eq!(numbers(&[next(reader.as_mut()).await], "n"), [4]);
    }
}

/// Tables that appear are read, those that vanish are forgotten, columns that are added come along.
#[tokio::test(flavor = "multi_thread")]
async fn tables_come_and_go() {
    for db in Db::all() {
        db.sql("CREATE TABLE m_a (id int PRIMARY KEY, v int); INSERT INTO m_a VALUES (1, 1)");
        let source =
            db.source("tables=m_*&cursor=id&follow=true&query_interval=20ms&poll_interval=50ms").unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        let mut reader = source.open(&splits[0], None).await.unwrap();
        let first = next(reader.as_mut()).await;
        assert_eq!((first.decoded.batches[0].table().name(), rows(&first)), ("m_a", 1));
        db.sql("CREATE TABLE m_b (id int PRIMARY KEY); INSERT INTO m_b VALUES (5)");
        let second = next(reader.as_mut()).await;
        assert_eq!(second.decoded.batches[0].table().name(), "m_b");
        assert_eq!(second.position.0.as_object().unwrap().len(), 2);
        // Another table of the same name begins at its own beginning.
        db.sql("DROP TABLE m_a");
        tokio::time::timeout(Duration::from_secs(120), async {
            let mut id = 6;
            loop {
                db.sql(&format!("INSERT INTO m_b VALUES ({id})"));
                id += 1;
                if next(reader.as_mut()).await.position.0.as_object().unwrap().len() == 1 {
                    return;
                }
            }
        })
        .await
        .unwrap();
        db.sql("CREATE TABLE m_a (id int PRIMARY KEY, w varchar(9)); INSERT INTO m_a VALUES (1, 'new')");
        let third = next(reader.as_mut()).await;
        assert_eq!(column(&third.decoded.batches, "w"), ["new"]);
        db.sql("ALTER TABLE m_a ADD COLUMN x int");
        let mut id = 2;
        loop {
            db.sql(&format!("INSERT INTO m_a VALUES ({id}, 'y', 7)"));
            id += 1;
            let batch = next(reader.as_mut()).await;
            let own = &batch.decoded.batches[0];
            // Until the next look at the catalog the old columns are read.
            if own.schema().column("x").is_some() {
                assert_eq!(own.row(0).get("x").unwrap(), Value::Int(7));
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_value_are_told_of_and_queries_are_read() {
    for db in Db::all() {
        db.sql("CREATE TABLE t (id int, d date, s varchar(9)); INSERT INTO t VALUES (1, '2024-01-01', 'a'), (2, NULL, 'b'), (3, '2024-01-03', 'c')");
        let source = db.source("table=t&cursor=d").unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        let notes = source.notes();
        assert!(notes.iter().any(|note| note.contains("without a value in \"d\" are not read")), "{notes:?}");
        let mut ids = Vec::new();
        for split in &splits {
            ids.extend(numbers(&read(source.as_ref(), split, None).await, "id"));
        }
        assert_eq!(ids, [1, 3]);
        assert_eq!(source.tables().len(), 1);
        let source = db
            .source("query=SELECT id * 2 AS k, s FROM t WHERE id <> 2 -- all but one&cursor=k&table=q")
            .unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        let all = read(source.as_ref(), &splits[0], None).await;
        assert_eq!(numbers(&all, "k"), [2, 6]);
        db.sql("INSERT INTO t VALUES (4, NULL, 'd')");
        let more = read(source.as_ref(), &splits[0], Some(&last(&all))).await;
        assert_eq!((numbers(&more, "k"), more[0].decoded.batches[0].table().name()), (vec![8], "q"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_itself_is_refused() {
    for db in Db::all() {
        db.sql("CREATE TABLE t (id int PRIMARY KEY, s varchar(9)); INSERT INTO t VALUES (1, 'a')");
        for (parameters, words) in [
            ("follow=true", "needs a column to go by"),
            ("cursor=id&follow=true&end=7", "contradict each other"),
            ("cursor=id&mode=realtime&begin=7", "begins now"),
            ("cursor=id&lookback=10m", "goes with mode=realtime"),
            ("cursor=id&lag=soon", "no distance"),
        ] {
            // KWDB's tables have a column of their own to go by.
            if parameters == "follow=true" && db.finds_its_cursor() {
                continue;
            }
            let error = error_of(db.source(&format!("table=t&{parameters}")));
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(words), "{error}");
        }
        for (parameters, words) in
            [("cursor=s", "integers, dates or timestamps"), ("cursor=nothing", "it has id, s")]
        {
            let source = db.source(&format!("table=t&{parameters}")).unwrap();
            let error = error_of(source.splits(1, &[]).await);
            let text = format!("{error} {}", error.hint().unwrap_or_default());
            assert!(error.kind() == ErrorKind::Config && text.contains(words), "{text}");
        }
        let source = db.source("table=t&cursor=id&lag=1s").unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        let mut reader = source.open(&splits[0], None).await.unwrap();
        let error = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a time was taken for a number"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("column of integers"), "{error}");
        // Splits of one way of reading are not read in another.
        let other = db.source("table=t&cursor=id&where=id > 0").unwrap();
        let error = error_of(other.splits(1, &splits).await);
        assert!(error.to_string().contains("in another way"), "{error}");
    }
}
