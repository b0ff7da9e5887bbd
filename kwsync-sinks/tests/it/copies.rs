//! A COPY that takes several batches, some of their rows refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use kwsync_core::testkit::PgServer;
use kwsync_core::{
    Column, DataType, JobId, Lane, RowCounts, Schema, Settled, Sink, TableBatch, Value, Writer,
};
use kwsync_sinks::postgres::{PostgresSink, Strategy};

use super::support::{Random, options};

fn batch(table: &str, schema: &Arc<Schema>, numbers: std::ops::Range<i64>) -> TableBatch {
    let rows: Vec<_> = numbers.map(|n| vec![Value::Int(n), Value::Text(format!("row {n}").into())]).collect();
    TableBatch::from_rows(table, Arc::clone(schema), &rows).unwrap()
}

/// Batches of all sizes go to two tables by turns of random length; each refuses some numbers. Whatever COPY a row
/// shares with others, it alone is rejected, and commits in between lose and double nothing.
#[tokio::test]
async fn refused_rows_cost_only_themselves_whatever_copy_they_share() {
    let Some(server) = PgServer::shared() else { return };
    let mut random = Random::new();
    let columns = vec![Column::new("n", DataType::Int64), Column::new("note", DataType::Text)];
    let schema = Arc::new(Schema::new(columns).unwrap());
    for strategy in [Strategy::CopyBinary, Strategy::CopyText, Strategy::CopyCsv] {
        for one_in in [1 << 40, 20_000, 300] {
            let database = server.create_database();
            let sink = PostgresSink::new(options(server, &database).with_strategy(strategy));
            let mut writer =
                sink.open(&Lane { job: JobId::new("test"), index: 0, generation: 1 }).await.unwrap();
            let mut settled = Settled::default();
            let mut next = 8;
            let mut table = "a";
            for table in ["a", "b"] {
                let check = format!("CREATE TABLE {table} (n bigint CHECK (n % {one_in} <> 7), note text)");
                server.psql(&database, &check);
                sink.prepare(&table.into(), &schema).await.unwrap();
            }
            for _ in 0..24 {
                if random.below(4) == 0 {
                    table = if table == "a" { "b" } else { "a" };
                }
                let most = [40, 3_000, 9_000][random.below(3) as usize];
                let rows = 1 + random.below(most) as i64;
                settled.merge(writer.write(&batch(table, &schema, next..next + rows)).await.unwrap());
                next += rows;
                match random.below(8) {
                    0 => settled.merge(writer.flush().await.unwrap()),
                    1 => settled.merge(writer.drain().await.unwrap()),
                    _ => {}
                }
            }
            settled.merge(writer.close().await.unwrap());
            let what = format!("{strategy:?}, one in {one_in}");
            let refused: BTreeSet<i64> = (8..next).filter(|n| n % one_in == 7).collect();
            let RowCounts { written, rejected, .. } = settled.total();
            assert_eq!((written + rejected, rejected), (next as u64 - 8, refused.len() as u64), "{what}");
            let stored = server.psql(&database, "SELECT n FROM a UNION ALL SELECT n FROM b ORDER BY 1");
            let stored: Vec<i64> = stored.lines().map(|line| line.parse().unwrap()).collect();
            let expected: Vec<i64> = (8..next).filter(|n| !refused.contains(n)).collect();
            assert!(stored == expected, "{what}: {} rows, {} expected", stored.len(), expected.len());
            let told: BTreeSet<String> =
                settled.rejects.iter().map(|reject| format!("{:?}", reject.raw)).collect();
            assert_eq!(told.len(), refused.len(), "{what}");
        }
    }
}

/// A COPY stays open for more rows; but not where the server ends statements after a time, be it by the settings of the database
/// or of the session: a source that pauses would cost the transaction.
#[tokio::test]
async fn no_copy_waits_where_statements_are_timed() {
    let Some(server) = PgServer::shared() else { return };
    let columns = vec![Column::new("n", DataType::Int64), Column::new("note", DataType::Text)];
    let schema = Arc::new(Schema::new(columns).unwrap());
    for (timed, state) in
        [("nobody", "active"), ("database", "idle in transaction"), ("session", "idle in transaction")]
    {
        let database = server.create_database();
        server.psql(&database, "CREATE TABLE t (n bigint, note text)");
        let mut options = options(server, &database);
        match timed {
            "database" => drop(
                server.psql(&database, &format!("ALTER DATABASE {database} SET statement_timeout = '1h'")),
            ),
            "session" => options.connect = options.connect.with_session("statement_timeout", "3600000"),
            _ => {}
        }
        let sink = PostgresSink::new(options);
        sink.prepare(&"t".into(), &schema).await.unwrap();
        let mut writer = sink.open(&Lane { job: JobId::new("test"), index: 0, generation: 1 }).await.unwrap();
        // More than what is put together before anything is sent.
        writer.write(&batch("t", &schema, 0..30_000)).await.unwrap();
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND state = '{state}' AND pid <> pg_backend_pid()"
        );
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while server.psql(&database, &sql).trim() != "1" {
            assert!(
                std::time::Instant::now() < deadline,
                "timed by {timed}: {}",
                server.psql(&database, "SELECT state, query FROM pg_stat_activity")
            );
        }
        let mut settled = writer.write(&batch("t", &schema, 30_000..40_000)).await.unwrap();
        settled.merge(writer.close().await.unwrap());
        assert_eq!(settled.total().written, 40_000);
    }
}
