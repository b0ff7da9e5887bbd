//! Random rows of every type, by every strategy into every kind of table, and read back equal.

use std::sync::Arc;

use kwsync_core::system::postgres::catalog;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::testkit::PgServer;
use kwsync_core::{Decoder, TableBatch, TableId};
use kwsync_formats::pgcopy::{CopyColumn, CopyDecoder};
use kwsync_sinks::postgres::{Mode, Strategy};

use super::support::{Random, load, options};

/// Columns and an expression for a random value of each.
const COLUMNS: &[(&str, &str)] = &[
    ("boolean", "random() < 0.5"),
    ("smallint", "(random() * 65535 - 32768)::int::smallint"),
    ("integer", "(random() * 4294967295 - 2147483648)::bigint::int"),
    ("bigint", "(random() * 1e18)::bigint * 9 - 4000000000000000000"),
    (
        "real",
        "(ARRAY['NaN', 'Infinity', '-Infinity', '0', '-0', '1e-40', (random() * 1e10)::text])[1 + (random() * 6)::int]::real",
    ),
    (
        "double precision",
        "(ARRAY['NaN', 'Infinity', '-Infinity', '1e-310', (random() * 1e200)::text, random()::text])[1 + (random() * 5)::int]::float8",
    ),
    (
        "numeric",
        "(ARRAY['NaN', '0.00', '-1e-30', '1e40', (random() * 1e15)::numeric::text, '-' || random()::text])[1 + (random() * 5)::int]::numeric",
    ),
    ("numeric(30,7)", "(random() * 1e20)::numeric(30,7) * (1 - 2 * (random() * 1)::int)"),
    ("numeric(3,5)", "(random() * 0.00999)::numeric(3,5)"),
    ("numeric(7,-3)", "((random() * 1e9)::numeric(7,-3))"),
    ("money", "(random() * 1e9 - 5e8)::numeric::money"),
    ("char(7)", "left(md5(random()::text), (random() * 7)::int)"),
    ("varchar(20)", "left(E'é\\'\"\\\\,\\t' || md5(random()::text), (random() * 20)::int)"),
    ("varchar", "repeat('x', (random() * 100)::int)"),
    (
        "text",
        "(ARRAY['', ' ', E'\\n', E'\\\\.', E'\\\\N', 'NULL', '日本語', repeat(md5(random()::text), 100)])[1 + (random() * 7)::int]",
    ),
    ("name", "left(md5(random()::text), 30)"),
    ("bytea", "decode(repeat(md5(random()::text), (random() * 5)::int), 'hex')"),
    ("date", "date '0001-01-01' + (random() * 3000000)::int"),
    ("time", "time '00:00' + random() * interval '23:59:59.999999'"),
    ("time(3)", "(time '00:00' + random() * interval '23:59:59')::time(3)"),
    ("timetz", "(time '00:00' + random() * interval '23:59:59')::timetz AT TIME ZONE interval '-07:30'"),
    ("timestamp", "timestamp '0001-01-01' + random() * interval '9000 years'"),
    ("timestamp(0)", "(timestamp '1900-01-01' + random() * interval '300 years')::timestamp(0)"),
    ("timestamptz", "timestamptz '1000-01-01 UTC' + random() * interval '3000 years'"),
    ("timestamptz(3)", "(timestamptz '1970-01-01 UTC' + random() * interval '300 years')::timestamptz(3)"),
    (
        "interval",
        "make_interval((random() * 100 - 50)::int, (random() * 11)::int, 0, (random() * 400)::int, 0, 0, random() * 1e6)",
    ),
    ("json", "json_build_object('a', random(), 'b', ARRAY[1, NULL], 'c', E'\\n\"é')"),
    ("jsonb", "jsonb_build_object('a', (random() * 100)::int, 'b', ARRAY[1, NULL], 'c', E'\\n\"é')"),
    ("uuid", "gen_random_uuid()"),
    ("inet", "(ARRAY['10.0.0.1', '10.1.0.0/16', '::1', 'fe80::/10'])[1 + (random() * 3)::int]::inet"),
    ("cidr", "(ARRAY['10.1.0.0/16', 'fe80::/10', '1.2.3.4/32'])[1 + (random() * 2)::int]::cidr"),
    ("macaddr", "trunc(macaddr '08:00:2b:01:02:03')"),
    ("macaddr8", "macaddr8 '08:00:2b:01:02:03:04:05'"),
    ("bit(11)", "((random() * 2047)::int)::bit(11)"),
    ("varbit(20)", "left(((random() * 1e9)::int)::bit(32)::text, (random() * 20)::int)::varbit(20)"),
    ("mood", "(ARRAY['sad', 'it''s', 'ok'])[1 + (random() * 2)::int]::mood"),
    ("even", "((random() * 1e6)::int * 2)::even"),
];

const ARRAYS: &[(&str, &str)] = &[
    ("integer[]", "ARRAY[1, NULL, (random() * 100)::int]"),
    ("text[]", "ARRAY['', NULL, E'a,b\"{}\\\\', md5(random()::text)]"),
    ("numeric(20,4)[]", "ARRAY[1.5, (random() * 1e9)::numeric(20,4)]"),
    ("timestamptz[]", "ARRAY[timestamptz '2020-01-01 UTC' + random() * interval '1 year']"),
    ("uuid[]", "ARRAY[gen_random_uuid(), NULL]"),
    ("double precision[]", "ARRAY[]::float8[]"),
    ("mood[]", "ARRAY['sad', NULL, 'ok']::mood[]"),
];

const ROWS: usize = 300;

/// Kinds of tables: what stands behind the columns, and other statements.
const KINDS: &[(&str, &str)] = &[
    ("plain", ", PRIMARY KEY (id))"),
    (
        "partitioned",
        ", PRIMARY KEY (id)) PARTITION BY HASH (id); CREATE TABLE {0}_a PARTITION OF {0} FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE {0}_b PARTITION OF {0} FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    ),
    ("referring", ", PRIMARY KEY (id), FOREIGN KEY (id) REFERENCES parent (id))"),
    (
        "generated",
        ", twice bigint GENERATED ALWAYS AS (id * 2) STORED, own bigint GENERATED ALWAYS AS IDENTITY, seen timestamptz DEFAULT now(), PRIMARY KEY (id))",
    ),
    (
        "triggered",
        ", PRIMARY KEY (id)); CREATE TRIGGER a AFTER INSERT ON {0} FOR EACH ROW EXECUTE FUNCTION noted()",
    ),
];

#[tokio::test]
async fn every_type_by_every_way_into_every_kind_of_table() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let mut random = Random::new();
    let psql = |sql: &str| server.psql(&database, sql);
    psql("CREATE TYPE mood AS ENUM ('sad', 'it''s', 'ok'); CREATE DOMAIN even AS integer CHECK (VALUE % 2 = 0);
          CREATE TABLE parent (id bigint PRIMARY KEY); CREATE TABLE note (n int);
          CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO note VALUES (1); RETURN NEW; END'");
    psql(&format!("INSERT INTO parent SELECT generate_series(1, {ROWS})"));
    for (set, arrays) in [(COLUMNS.to_vec(), false), ([COLUMNS, ARRAYS].concat(), true)] {
        let suffix = if arrays { "_arrays" } else { "" };
        let columns: Vec<String> = set
            .iter()
            .enumerate()
            .map(|(at, (sql, _))| format!("\"c{at} {}\" {sql}", sql.replace('"', "")))
            .collect();
        let values: Vec<String> =
            set.iter().map(|(_, value)| format!("CASE WHEN random() > 0.1 THEN {value} END")).collect();
        let seed = random.below(1_000) as f64 / 1_000.0;
        psql(&format!(
            "CREATE TABLE source{suffix} (id bigint, {}); SELECT setseed({seed}); INSERT INTO source{suffix} SELECT n, {} FROM generate_series(1, {ROWS}) n",
            columns.join(", "),
            values.join(", "),
        ));
        let rows = read(server, &database, &format!("source{suffix}")).await;
        let half = [rows.slice(0, ROWS / 2), rows.slice(ROWS / 2, ROWS - ROWS / 2)];
        let names: Vec<String> =
            rows.schema().columns().iter().map(|column| format!("\"{}\"", column.name())).collect();
        let stored = |table: &str| {
            psql(&format!("COPY (SELECT {} FROM {table} ORDER BY id) TO STDOUT", names.join(", ")))
        };
        let expected = stored(&format!("source{suffix}"));
        assert_eq!(expected.lines().count(), ROWS);
        for (kind, rest) in KINDS {
            let table = format!("{kind}{suffix}");
            psql(&format!(
                "CREATE TABLE {table} (id bigint, {}{}",
                columns.join(", "),
                rest.replace("{0}", &table)
            ));
            for mode in [Mode::Insert, Mode::InsertIgnore, Mode::Upsert, Mode::Update] {
                for strategy in [
                    Strategy::CopyText,
                    Strategy::CopyCsv,
                    Strategy::Auto,
                    Strategy::Merge,
                    Strategy::Insert,
                    Strategy::Unnest,
                ] {
                    if mode != Mode::Insert && matches!(strategy, Strategy::CopyText | Strategy::CopyCsv)
                        || arrays && strategy == Strategy::Unnest
                        || mode == Mode::Update && matches!(strategy, Strategy::Insert | Strategy::Unnest)
                    {
                        continue;
                    }
                    psql(&format!("TRUNCATE {table}"));
                    if matches!(mode, Mode::Update | Mode::Upsert) {
                        let there = if mode == Mode::Update { ROWS } else { ROWS / 3 };
                        psql(&format!("INSERT INTO {table} (id) SELECT generate_series(1, {there})"));
                    }
                    let options = options(server, &database).with_mode(mode).with_strategy(strategy);
                    let batches = half.clone().map(|batch| batch.with_table(table.as_str()));
                    let what = format!("{table} {mode} {strategy:?}");
                    let settled =
                        load(options, &batches).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    assert!(settled.rejects.is_empty(), "{what}: {:?}", settled.rejects);
                    let landed = stored(&table);
                    for (wanted, landed) in expected.lines().zip(landed.lines()) {
                        for (at, (wanted, landed)) in wanted.split('\t').zip(landed.split('\t')).enumerate() {
                            assert_eq!(wanted, landed, "{what}: {}", names[at]);
                        }
                    }
                    assert_eq!(landed.lines().count(), ROWS, "{what}");
                }
            }
        }
    }
}

/// The rows of a table, by COPY BINARY.
async fn read(server: &PgServer, database: &str, table: &str) -> TableBatch {
    let mut session = Connection::connect(&options(server, database).connect).await.unwrap();
    let found = catalog::table(&mut session, &TableId::new(table), None).await.unwrap().unwrap();
    let columns: Vec<_> = found
        .columns
        .iter()
        .map(|column| CopyColumn::new(column.name.as_str(), column.pg_type.clone()))
        .collect();
    let schema = Arc::new(CopyDecoder::schema_of(&columns).unwrap());
    let mut decoder = CopyDecoder::try_new(table, &schema, &columns).unwrap();
    let bytes = server.try_psql(database, &format!("COPY {table} TO STDOUT (FORMAT binary)"), b"").unwrap();
    decoder.decode_slice(&bytes).unwrap();
    decoder.finish().unwrap();
    let decoded = decoder.flush().unwrap();
    assert_eq!((decoded.batches.len(), decoded.rejects.len()), (1, 0), "{:?}", decoded.rejects);
    decoded.batches[0].clone()
}
