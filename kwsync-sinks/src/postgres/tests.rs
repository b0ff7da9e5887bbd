//! The statements of each server, as they are.

use kwsync_core::system::postgres::catalog::{CatalogTable, UniqueIndex};
use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::types::{PgType, oid};
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::{Column, DataType, Role, Schema, TableId, TimeUnit};

use super::config::{Create, Mode, PostgresOptions, Strategy};
use super::key;
use super::target;
use super::way::Way;

fn options() -> PostgresOptions {
    PostgresOptions::new(ConnectConfig::new("localhost", 5432, "me", "db"))
}

fn schema() -> Schema {
    Schema::new(vec![
        Column::new("time", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
        Column::new("host", DataType::Text).with_role(Role::Tag),
        Column::new("n\"", DataType::Int64),
    ])
    .unwrap()
}

/// A table with the columns of the schema, `n"` as integer, and two indexes.
fn found() -> CatalogTable {
    let mut found = CatalogTable::new("public", "cpu");
    for (name, pg_type) in [
        ("time", PgType::base(oid::TIMESTAMPTZ, 3, "timestamp(3) with time zone")),
        ("host", PgType::base(oid::VARCHAR, 24, "character varying(20)")),
        ("n\"", PgType::base(oid::INT4, -1, "integer")),
    ] {
        found = found.with_column(name, pg_type);
    }
    found.unique = vec![UniqueIndex::new("cpu_pkey", true, ["host", "time"])];
    found
}

fn ddl(server: Server, found: Option<&CatalogTable>, options: &PostgresOptions) -> String {
    let profile = Profile::of(server, None);
    target::change(&TableId::new("cpu"), &schema(), found, options, &profile).unwrap().statements.join("; ")
}

#[test]
fn tables_are_made_as_each_server_has_them() {
    let plain = options();
    let keyed = options().with_key(["host", "time"]);
    let mut spread = keyed.clone();
    spread.distributed_by = vec!["host".to_owned()];
    spread.table_options = Some("APPENDONLY=true, ORIENTATION=column".to_owned());
    let mut random = options();
    random.distributed_by = vec!["RANDOMLY".to_owned()];
    let mut unlogged = plain.clone();
    unlogged.unlogged = true;
    let columns = "(\"time\" timestamptz(3), \"host\" text, \"n\"\"\" bigint";
    let cases = [
        (Server::PostgreSql, &plain, format!("CREATE TABLE IF NOT EXISTS \"cpu\" {columns})")),
        (Server::PostgreSql, &unlogged, format!("CREATE UNLOGGED TABLE IF NOT EXISTS \"cpu\" {columns})")),
        (
            Server::Cockroach,
            &keyed,
            format!("CREATE TABLE IF NOT EXISTS \"cpu\" {columns}, PRIMARY KEY (\"host\", \"time\"))"),
        ),
        (
            Server::Greenplum,
            &spread,
            format!(
                "CREATE TABLE IF NOT EXISTS \"cpu\" {columns}, PRIMARY KEY (\"host\", \"time\")) \
                 WITH (APPENDONLY=true, ORIENTATION=column) DISTRIBUTED BY (\"host\")"
            ),
        ),
        (
            Server::Greenplum,
            &random,
            format!("CREATE TABLE IF NOT EXISTS \"cpu\" {columns}) DISTRIBUTED RANDOMLY"),
        ),
        (
            Server::KwdbTimeSeries,
            &plain,
            "CREATE TABLE IF NOT EXISTS \"cpu\" (\"time\" TIMESTAMPTZ(3) NOT NULL, \"n\"\"\" INT8) \
             TAGS (\"host\" VARCHAR(128) NOT NULL) PRIMARY TAGS (\"host\")"
                .to_owned(),
        ),
    ];
    for (server, options, expected) in cases {
        assert_eq!(ddl(server, None, options), expected);
    }
    let profile = Profile::of(Server::PostgreSql, None);
    assert!(target::change(&TableId::new("cpu"), &schema(), None, &spread, &profile).is_err());
}

#[test]
fn tables_grow_and_never_shrink() {
    let mut evolve = options();
    evolve.create = Create::Evolve;
    let mut found = found();
    assert_eq!(ddl(Server::PostgreSql, Some(&found), &options()), "");
    let widened = "ALTER TABLE \"public\".\"cpu\" ALTER COLUMN \"host\" TYPE text; \
                   ALTER TABLE \"public\".\"cpu\" ALTER COLUMN \"n\"\"\" TYPE bigint";
    assert_eq!(ddl(Server::PostgreSql, Some(&found), &evolve), widened);
    // What is wider, or something else, is left alone.
    found.columns[2].pg_type = PgType::base(oid::NUMERIC, -1, "numeric");
    found.columns[1].pg_type = PgType::base(oid::TEXT, -1, "text");
    assert_eq!(ddl(Server::PostgreSql, Some(&found), &evolve), "");
    found.columns.remove(2);
    assert_eq!(
        ddl(Server::PostgreSql, Some(&found), &options()),
        "ALTER TABLE \"public\".\"cpu\" ADD COLUMN IF NOT EXISTS \"n\"\"\" bigint"
    );
    assert_eq!(
        ddl(Server::Greenplum, Some(&found), &options()),
        "ALTER TABLE \"public\".\"cpu\" ADD COLUMN \"n\"\"\" bigint"
    );
}

#[test]
fn rows_go_in_by_these_statements() {
    let statement = |server, options: &PostgresOptions| {
        let (profile, found, schema) = (Profile::of(server, None), found(), schema());
        let key = key::find(Some(&found), "cpu", &schema, options, &profile).unwrap();
        Way::new(&found, &schema, key.as_ref(), options, &profile, 1).unwrap().statement()
    };
    let list = "\"time\", \"host\", \"n\"\"\"";
    let conflict = "ON CONFLICT (\"host\", \"time\") DO UPDATE SET \"n\"\"\" = EXCLUDED.\"n\"\"\"";
    let (insert, upsert) = (options(), options().with_mode(Mode::Upsert));
    assert_eq!(
        statement(Server::PostgreSql, &insert),
        format!("COPY \"public\".\"cpu\" ({list}) FROM STDIN (FORMAT binary)")
    );
    let told = "RETURNING xmax = 0 AS new) SELECT count(*) FILTER (WHERE new), count(*) FILTER (WHERE NOT new) FROM w";
    assert_eq!(
        statement(Server::PostgreSql, &upsert),
        format!(
            "WITH w AS (INSERT INTO \"public\".\"cpu\" ({list}) SELECT {list} FROM pg_temp.kwsync_stage_1 {conflict} {told}"
        )
    );
    assert_eq!(
        statement(Server::PostgreSql, &upsert.clone().with_strategy(Strategy::Unnest)),
        format!(
            "WITH w AS (INSERT INTO \"public\".\"cpu\" ({list}) SELECT * FROM unnest($1::timestamp with time zone[], \
             $2::character varying[], $3::integer[]) {conflict} {told}"
        )
    );
    assert_eq!(
        statement(Server::Greenplum, &upsert),
        format!(
            "UPDATE \"public\".\"cpu\" AS t SET \"n\"\"\" = s.\"n\"\"\" FROM pg_temp.kwsync_stage_1 AS s \
             WHERE t.\"host\" = s.\"host\" AND t.\"time\" = s.\"time\"; \
             INSERT INTO \"public\".\"cpu\" ({list}) SELECT {list} FROM pg_temp.kwsync_stage_1 AS s WHERE NOT EXISTS \
             (SELECT 1 FROM \"public\".\"cpu\" AS t WHERE t.\"host\" = s.\"host\" AND t.\"time\" = s.\"time\")"
        )
    );
    assert_eq!(statement(Server::Kwdb, &insert), format!("COPY \"public\".\"cpu\" ({list}) FROM STDIN"));
    assert!(
        statement(Server::Cockroach, &upsert).contains("SELECT (SELECT count(*) FROM w) - e.n, e.n FROM e")
    );
}
