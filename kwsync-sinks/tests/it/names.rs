//! Hostile names as tables and columns: made just so, or refused; never more than names.

use std::sync::Arc;

use kwsync_core::testkit::PgServer;
use kwsync_core::{Column, DataType, ErrorKind, Schema, TableBatch, Value};
use kwsync_sinks::postgres::{Mode, Strategy};

use super::support::{Random, load, options};

const PARTS: &[&str] = &[
    "\"",
    "'",
    ";",
    "--",
    "/*",
    "*/",
    "\\",
    "$1",
    "$$",
    "\n",
    "\t",
    "\0",
    " ",
    "%s",
    "{0}",
    ")",
    "(",
    ",",
    ".",
    "é",
    "日本",
    "🦀",
    "\u{202e}",
    "e\u{301}",
    "drop table sentinel",
    "; DROP TABLE sentinel; --",
    "\"; DROP TABLE sentinel; --",
    "') ; DROP TABLE sentinel; --",
    "COPY x, line 3",
    "kwsync_stage_1",
    "pg_temp",
    "select",
    "SELECT",
    "ON CONFLICT",
    "a",
    "B",
    "line 1, column",
    "EXCLUDED",
    "xmax",
    "\u{7f}",
    "\u{1}",
    "\\'; DROP TABLE sentinel; --",
    "U&\"\\0041\"",
    "E'\\n'",
];

fn name(random: &mut Random) -> String {
    if random.below(20) == 0 {
        return "x\"".repeat(5 << 10);
    }
    (0..=random.below(3)).map(|_| PARTS[random.below(PARTS.len() as u64) as usize]).collect()
}

/// Whether the server can have it.
fn is_good(name: &str) -> bool {
    !name.is_empty() && !name.contains('\0') && name.len() <= 63
}

#[tokio::test]
async fn hostile_names_are_made_or_refused_and_never_run() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(&database, "CREATE TABLE sentinel AS SELECT 42 AS n");
    let mut random = Random::new();
    let names = |sql: &str| -> Vec<String> {
        // As JSON, since a name may hold anything.
        serde_json::from_str(server.psql(&database, sql).trim()).unwrap()
    };
    let (mut made, mut refused) = (0, 0);
    for round in 0..60 {
        // The system's own columns are taken.
        let system = ["xmax", "xmin", "ctid", "cmin", "cmax", "tableoid"];
        let (table, a, b) = (name(&mut random), name(&mut random), name(&mut random) + "2");
        if system.contains(&a.as_str()) || a == b || table == "sentinel" {
            continue;
        }
        let strategy = [Strategy::Auto, Strategy::Merge, Strategy::Insert, Strategy::Unnest][round % 4];
        let mode = [Mode::Insert, Mode::Upsert, Mode::InsertIgnore][round % 3];
        let columns = vec![Column::new(a.as_str(), DataType::Int64), Column::new(b.as_str(), DataType::Text)];
        let schema = Arc::new(Schema::new(columns).unwrap());
        let row = vec![Value::Int(7), Value::Text(b.as_str().replace('\0', "").into())];
        let batch = TableBatch::from_rows(table.as_str(), schema, &[row]).unwrap();
        let options =
            options(server, &database).with_mode(mode).with_strategy(strategy).with_key([a.as_str()]);
        server.psql(
            &database,
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE sentinel AS SELECT 42 AS n",
        );
        match load(options, &[batch]).await {
            Ok(settled) => {
                made += 1;
                assert_eq!(settled.total().written, 1);
                assert!(is_good(&table) && is_good(&a) && is_good(&b), "{table:?} {a:?} {b:?}");
                let tables = names(
                    "SELECT json_agg(relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'sentinel'",
                );
                assert_eq!(tables, std::slice::from_ref(&table));
                let columns = names(
                    "SELECT json_agg(attname ORDER BY attnum) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'sentinel' AND attnum > 0",
                );
                assert_eq!(columns, [a, b]);
            }
            Err(error) => {
                refused += 1;
                assert!(!(is_good(&table) && is_good(&a) && is_good(&b)), "{table:?} {a:?} {b:?}: {error:?}");
                assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
                assert!(matches!(error.code(), Some("bad_name" | "name_too_long")), "{error:?}");
            }
        }
        assert_eq!(server.psql(&database, "TABLE sentinel"), "42\n");
    }
    assert!(made > 10 && refused > 5, "{made} made, {refused} refused");
}
