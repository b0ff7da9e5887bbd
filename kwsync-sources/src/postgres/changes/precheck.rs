//! What a server and its tables need to have for changes to be followed: all that is missing is told at once.

use kwsync_core::system::postgres::ddl::quote;
use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::relations::RelationKind;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Error, ErrorKind, Result};

use super::super::relation::{Asked, Named};
use super::config::ChangesOptions;
use super::slot::{self, Names};

fn missing(text: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::config(text.into()).with_hint(hint.into())
}

/// The first version whose plugin speaks the protocol.
const FIRST: (u16, u16) = (10, 0);

/// Looks at the server and the tables.
///
/// # Errors
/// `Config` with everything that is missing, and what to do about each.
pub(super) async fn check(
    connection: &mut Connection,
    profile: &Profile,
    options: &ChangesOptions,
    names: &Names,
    tables: &[Asked],
) -> Result<()> {
    let mut faults = Vec::new();
    server(connection, names, &mut faults).await?;
    for table in tables {
        faults.extend(of_table(connection, profile, options, table).await?);
    }
    publication(connection, names, tables, &mut faults).await?;
    Error::all(faults)
}

/// Whether the server's kind and version follow changes at all: before anything is asked that others do not know.
///
/// # Errors
/// `Unsupported` for another server, `Config` for one that is too old.
pub(super) fn able(profile: &Profile) -> Result<()> {
    if profile.server != Server::PostgreSql {
        let text = format!("changes are followed by logical replication, which {} has not", profile.server);
        return Err(Error::new(ErrorKind::Unsupported, text)
            .with_hint("read by a cursor instead: cursor=COLUMN&mode=all"));
    }
    if profile.version < FIRST {
        return Err(missing(
            format!("the server is version {}.{}", profile.version.0, profile.version.1),
            "its plugin pgoutput, by which changes are read, came with version 10 (logical replication as such with 9.4): upgrade the server, or read by a \
             cursor",
        ));
    }
    Ok(())
}

async fn server(connection: &mut Connection, names: &Names, faults: &mut Vec<Error>) -> Result<()> {
    let sql = "SELECT current_setting('wal_level'), current_setting('max_replication_slots'), \
               (SELECT count(*) FROM pg_catalog.pg_replication_slots), current_setting('max_wal_senders'), \
               (SELECT count(*) FROM pg_catalog.pg_stat_replication), pg_catalog.pg_is_in_recovery(), \
               (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \
               OR EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname IN ('rds_replication', 'rds_superuser') \
               AND pg_catalog.pg_has_role(r.oid, 'member')), current_user";
    let rows = connection.query(sql, &[]).await?.rows;
    let text = |column| rows.get(0, column).unwrap_or_default();
    let number = |column| text(column).parse::<u64>().unwrap_or(0);
    if text(0) != "logical" {
        faults.push(missing(
            format!("wal_level is {:?}", text(0)),
            "set wal_level = logical in postgresql.conf and restart the server: without it the log does not tell of rows",
        ));
    }
    let there = slot::look(connection, &names.slot).await?;
    if number(2) >= number(1) && there.is_none() {
        faults.push(missing(
            format!("all {} replication slots are taken", number(1)),
            "raise max_replication_slots and restart the server, or drop a slot that nobody uses: SELECT slot_name, active FROM pg_replication_slots",
        ));
    }
    if names.slot_given
        && let Some(there) = &there
    {
        if let Some(why) = &there.fault {
            faults.push(missing(
                format!("the slot {:?} cannot be read: {why}", names.slot),
                "name another with slot=, or drop it and let the job make one",
            ));
        } else if !slot::published(connection, &names.publication).await? {
            faults.push(missing(
                format!("the slot {:?} is older than the publication that would be made", names.slot),
                "the server looks for the publication as of the time of each change: name one with publication= that was there before the slot was made, \
                 or have the job make the slot, too",
            ));
        }
    }
    if number(4) >= number(3) {
        faults.push(missing(
            format!("max_wal_senders is {}, and {} are at work", number(3), number(4)),
            "raise max_wal_senders and restart the server: each stream of changes takes one",
        ));
    }
    if text(5) == "t" {
        faults.push(missing("the server is a standby", "connect to the primary"));
    }
    if text(6) != "t" {
        faults.push(missing(
            format!("the user {:?} has not the right REPLICATION", text(7)),
            format!("grant it: ALTER ROLE \"{}\" REPLICATION", text(7)),
        ));
    }
    Ok(())
}

async fn of_table(
    connection: &mut Connection,
    profile: &Profile,
    options: &ChangesOptions,
    table: &Asked,
) -> Result<Option<Error>> {
    let name = table.relation.to_string_id();
    let kind = match table.relation.kind {
        RelationKind::Plain => None,
        RelationKind::Partitioned if profile.version.0 >= 13 => None,
        RelationKind::Partitioned => {
            Some("a table with partitions, which is published as one since version 13")
        }
        _ => Some("no table that is written to the log"),
    };
    if let Some(kind) = kind {
        return Ok(Some(missing(
            format!("{name} is {kind}"),
            "leave it out with exclude=, or name its partitions",
        )));
    }
    let sql = "SELECT relpersistence::text, relkind::text FROM pg_catalog.pg_class WHERE oid = $1::oid";
    let rows = connection.query(sql, &[Some(&table.relation.oid.to_string())]).await?.rows;
    if rows.get(0, 0) == Some("u") || rows.get(0, 1) == Some("m") {
        let what = if rows.get(0, 1) == Some("m") { "a materialized view" } else { "unlogged" };
        return Ok(Some(missing(
            format!("{name} is {what}: the log does not tell of its rows"),
            "leave it out with exclude=, or make it an ordinary table",
        )));
    }
    if table.identity().is_empty() && !options.keyless {
        return Ok(Some(missing(
            format!(
                "{name} has no key by which the server tells rows apart when they change (its replica identity)"
            ),
            "give it a primary key; or ALTER TABLE ... REPLICA IDENTITY USING INDEX, of a unique index over columns that are NOT NULL; or say \
             keyless=inserts, and its inserts alone are followed",
        )));
    }
    Ok(None)
}

async fn publication(
    connection: &mut Connection,
    names: &Names,
    tables: &[Asked],
    faults: &mut Vec<Error>,
) -> Result<()> {
    if names.publication_given && slot::published(connection, &names.publication).await? {
        return given(connection, names, tables, faults).await;
    }
    let sql = "SELECT pg_catalog.has_database_privilege(current_database(), 'CREATE'), current_database(), current_user";
    let rows = connection.query(sql, &[]).await?.rows;
    if rows.get(0, 0) != Some("t") {
        let (database, user) = (rows.get(0, 1).unwrap_or_default(), rows.get(0, 2).unwrap_or_default());
        faults.push(missing(
            format!("the user {user:?} may not make a publication in the database {database:?}"),
            format!(
                "GRANT CREATE ON DATABASE \"{database}\" TO \"{user}\"; or have the owner of the tables make one, and name it with publication="
            ),
        ));
    }
    for table in tables {
        let sql = "SELECT pg_catalog.pg_has_role(relowner, 'USAGE'), pg_catalog.has_table_privilege(oid, 'SELECT') \
                   FROM pg_catalog.pg_class WHERE oid = $1::oid";
        let rows = connection.query(sql, &[Some(&table.relation.oid.to_string())]).await?.rows;
        let name = table.relation.to_string_id();
        if rows.get(0, 0) != Some("t") {
            faults.push(missing(
                format!("{name} is not the user's own, and only its owner may publish it"),
                "have its owner make a publication of it, and name that with publication=",
            ));
        }
        if rows.get(0, 1) != Some("t") {
            faults.push(missing(
                format!("the user may not read {name}"),
                format!("GRANT SELECT ON {name} TO the user"),
            ));
        }
    }
    Ok(())
}

/// What a publication that was given leaves out: each would be changes that are lost without a word.
async fn given(
    connection: &mut Connection,
    names: &Names,
    tables: &[Asked],
    faults: &mut Vec<Error>,
) -> Result<()> {
    let name = &names.publication;
    let quoted = quote(name)?;
    // By way of JSON, since what there is differs by version: TRUNCATE since 11, partitions as one table since 13.
    let sql = "SELECT to_jsonb(p) ->> 'pubinsert', to_jsonb(p) ->> 'pubupdate', to_jsonb(p) ->> 'pubdelete', \
               coalesce(to_jsonb(p) ->> 'pubtruncate', 'true'), coalesce(to_jsonb(p) ->> 'pubviaroot', 'false') \
               FROM pg_catalog.pg_publication p WHERE pubname = $1";
    let rows = connection.query(sql, &[Some(name)]).await?.rows;
    let publishes = |column| rows.get(0, column) == Some("true");
    let via_root = publishes(4);
    let keyed = tables.iter().any(|table| !table.identity().is_empty());
    let wanted = [("insert", true), ("update", keyed), ("delete", keyed), ("truncate", true)];
    let lacking = wanted.iter().enumerate().filter(|(at, (_, wanted))| *wanted && !publishes(*at));
    let lacking: Vec<_> = lacking.map(|(_, (operation, _))| *operation).collect();
    if !lacking.is_empty() {
        faults.push(missing(
            format!("the publication {name:?} does not publish {}", lacking.join(", ")),
            format!("ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate')"),
        ));
    }
    // Row filters and lists of columns came with version 15.
    let sql = "SELECT t.schemaname, t.tablename, to_jsonb(t) ->> 'rowfilter', \
               CASE WHEN to_jsonb(t) ->> 'attnames' IS NULL THEN NULL ELSE \
               (SELECT string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
               AND coalesce(to_jsonb(a) ->> 'attgenerated', '') = '' \
               AND NOT jsonb_exists(to_jsonb(t) -> 'attnames', a.attname::text)) END \
               FROM pg_catalog.pg_publication_tables t \
               JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname \
               JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE t.pubname = $1";
    let rows = connection.query(sql, &[Some(name)]).await?.rows;
    for table in tables {
        let partitioned = table.relation.kind == RelationKind::Partitioned;
        if partitioned && !via_root {
            faults.push(missing(
                format!(
                    "the publication {name:?} publishes the partitions of {} each under its own name, and those that are made later would not be followed",
                    table.relation.to_string_id()
                ),
                format!("ALTER PUBLICATION {quoted} SET (publish_via_partition_root = true)"),
            ));
            continue;
        }
        let stored = table.stored.iter().filter(|stored| !partitioned && stored.oid != table.relation.oid);
        for relation in std::iter::once(&table.relation).chain(stored) {
            let own = (Some(relation.schema.as_str()), Some(relation.name.as_str()));
            let shown = relation.to_string_id();
            let Some(row) = (0..rows.len()).find(|row| (rows.get(*row, 0), rows.get(*row, 1)) == own) else {
                faults.push(missing(
                    format!("the publication {name:?} does not have {shown}"),
                    format!("add it: ALTER PUBLICATION {quoted} ADD TABLE ..."),
                ));
                continue;
            };
            if let Some(filter) = rows.get(row, 2) {
                faults.push(missing(
                    format!("the publication {name:?} has of {shown} only the rows WHERE {filter}, and the copy has all"),
                    "publish it without a row filter, or leave it out with exclude=",
                ));
            }
            if let Some(columns) = rows.get(row, 3) {
                faults.push(missing(
                    format!(
                        "the publication {name:?} leaves out columns of {shown} that the copy has: {columns}"
                    ),
                    "publish it without a list of columns, or leave it out with exclude=",
                ));
            }
        }
    }
    Ok(())
}
