//! How rows get into a table: the statements of each strategy.

use kwsync_core::system::postgres::catalog::{CatalogColumn, CatalogTable};
use kwsync_core::system::postgres::ddl::{quote, table_name};
use kwsync_core::system::postgres::profile::Profile;
use kwsync_core::system::postgres::types::{PgKind, PgType, oid};
use kwsync_core::{Change, Error, ErrorKind, Result, Schema, TableId};
use kwsync_formats::pgcopy::CopyDecoder;

use super::config::{Mode, PostgresOptions, Strategy};
use super::key::Key;
use super::target::needs_text;

/// Parameters that one statement may have; the protocol counts them in 16 bits.
const MAX_PARAMETERS: usize = 65_535;
/// Rows of one INSERT; more gain nothing.
const MAX_INSERT_ROWS: usize = 1_024;
/// Rows of one INSERT of arrays.
pub(super) const UNNEST_ROWS: usize = 4_096;

/// The statement that tells how many rows this transaction has updated in the table, where upserts are counted so. It
/// is cheaper than asking of every row, and exact where no trigger can update others.
pub(super) fn count(found: &CatalogTable, options: &PostgresOptions, profile: &Profile) -> Option<String> {
    let can = options.mode == Mode::Upsert && profile.statistics && profile.on_conflict;
    (can && found.plain && !found.triggers)
        .then(|| format!("SELECT pg_catalog.pg_stat_get_xact_tuples_updated({})", found.oid))
}

/// The form of COPY's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Binary,
    Text,
    Csv,
}

/// How the rows of one set of columns go into a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// COPY into the table.
    Copy { copy: String, form: Form },
    /// COPY into a temporary table, then one statement.
    Merge { stage: String, relation: String, create: String, copy: String, merge: String },
    /// INSERT of as many rows as the statement has.
    Insert { into: Into, columns: usize, types: Vec<u32> },
    /// INSERT of one array a column.
    Unnest { sql: String, items: Vec<u32> },
}

impl Way {
    /// The way for the columns of `schema` into `found`. `number` tells apart the ways of one session.
    pub(super) fn new(
        found: &CatalogTable,
        schema: &Schema,
        key: Option<&Key>,
        options: &PostgresOptions,
        profile: &Profile,
        number: usize,
    ) -> Result<Self> {
        let columns: Vec<&CatalogColumn> =
            schema.columns().iter().filter_map(|column| found.column(column.name())).collect();
        let table = table_name(&TableId::with_schema(found.schema.as_str(), found.name.as_str()), None)?;
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect::<Result<_>>()?;
        let list = names.join(", ");
        let into = Into {
            table: table.clone(),
            list: list.clone(),
            conflict: conflict(&names, key, options)?,
            counted: count(found, options, profile).is_some(),
            same: match (key, options.mode) {
                (Some(key), Mode::Upsert) if !found.plain || !profile.xmax => Some(equal(key)?),
                _ => None,
            },
        };
        let strategy = match options.chosen_strategy(profile)? {
            Strategy::CopyBinary if profile.copy_text && needs_text(found, schema, options) => {
                Strategy::CopyText
            }
            chosen => chosen,
        };
        Ok(match strategy {
            Strategy::Merge => {
                let stage = format!("kwsync_stage_{number}");
                let relation = stage.clone();
                let stage = format!("pg_temp.{stage}");
                let copy = format!("COPY {stage} ({list}) FROM STDIN (FORMAT binary)");
                let merge = match options.mode {
                    Mode::Update => update(&table, &stage, &names, key)?,
                    Mode::Upsert | Mode::InsertIgnore if !profile.on_conflict => {
                        let insert = insert_missing(&table, &stage, &list, key)?;
                        match (options.mode, update(&table, &stage, &names, key)) {
                            (Mode::Upsert, Ok(update)) => format!("{update}; {insert}"),
                            _ => insert,
                        }
                    }
                    _ => into.rows(&format!("SELECT {list} FROM {stage}")),
                };
                let create = format!(
                    "CREATE TEMP TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS AS SELECT {list} FROM {table} WITH NO DATA"
                );
                Self::Merge { stage, relation, create, copy, merge }
            }
            Strategy::Insert => Self::Insert {
                into,
                columns: columns.len(),
                types: columns.iter().map(|column| column.pg_type.oid).collect(),
            },
            Strategy::Unnest => {
                let arrays: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(at, column)| Ok(format!("${}::{}[]", at + 1, array_item(column)?)))
                    .collect::<Result<_>>()?;
                let items = columns.iter().map(|column| column.pg_type.oid).collect();
                let sql = into.rows(&format!("SELECT * FROM unnest({})", arrays.join(", ")));
                Self::Unnest { sql, items }
            }
            strategy => {
                let (form, options) = match strategy {
                    // Without options, which KWDB's grammar does not take so; TEXT is what COPY means then.
                    Strategy::CopyText => (Form::Text, ""),
                    Strategy::CopyCsv => (Form::Csv, " (FORMAT csv)"),
                    _ => (Form::Binary, " (FORMAT binary)"),
                };
                Self::Copy { copy: format!("COPY {table} ({list}) FROM STDIN{options}"), form }
            }
        })
    }

    /// The way for a few rows, where a temporary table would cost more than the rows.
    pub(super) fn of_few(
        found: &CatalogTable,
        schema: &Schema,
        key: Option<&Key>,
        options: &PostgresOptions,
        profile: &Profile,
    ) -> Result<Self> {
        let is_list = |column: &CatalogColumn| matches!(column.pg_type.kind, PgKind::Array(_));
        let lists = schema.columns().iter().filter_map(|column| found.column(column.name())).any(is_list);
        let strategy = if lists || !profile.unnest { Strategy::Insert } else { Strategy::Unnest };
        Self::new(found, schema, key, &options.clone().with_strategy(strategy), profile, 0)
    }

    /// The way of changes of one kind, by way of a temporary table. Values of types of which only the text form is known are read by the server.
    pub(super) fn of_change(
        found: &CatalogTable,
        schema: &Schema,
        key: &Key,
        change: Change,
        options: &PostgresOptions,
        profile: &Profile,
        number: usize,
    ) -> Result<Self> {
        let parts = Parts::new(found, schema)?;
        let relation = format!("kwsync_stage_{number}");
        let stage = format!("pg_temp.{relation}");
        let staged = parts.columns.iter().map(|(name, _, text)| match text {
            true => format!("{name}::text AS {name}"),
            false => name.clone(),
        });
        let create = format!(
            "CREATE TEMP TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA",
            staged.collect::<Vec<_>>().join(", "),
            parts.table
        );
        let copy = format!("COPY {stage} ({}) FROM STDIN (FORMAT binary)", parts.list());
        let merge = parts.statement(&stage, key, change, found, options, profile)?;
        Ok(Self::Merge { stage, relation, create, copy, merge })
    }

    /// The way of a few changes of one kind: as arrays; none where they cannot travel so.
    pub(super) fn of_few_changes(
        found: &CatalogTable,
        schema: &Schema,
        key: &Key,
        change: Change,
        options: &PostgresOptions,
        profile: &Profile,
    ) -> Result<Option<Self>> {
        let columns: Vec<&CatalogColumn> =
            schema.columns().iter().filter_map(|column| found.column(column.name())).collect();
        let plain = |column: &&CatalogColumn| {
            CopyDecoder::reads(&column.pg_type) && !matches!(column.pg_type.kind, PgKind::Array(_))
        };
        if !profile.unnest || !profile.prepared_insert || !columns.iter().all(plain) {
            return Ok(None);
        }
        let parts = Parts::new(found, schema)?;
        let arrays = columns
            .iter()
            .enumerate()
            .map(|(at, column)| Ok(format!("${}::{}[]", at + 1, array_item(column)?)));
        let arrays = arrays.collect::<Result<Vec<_>>>()?.join(", ");
        let rows = format!("(SELECT * FROM unnest({arrays}) AS u ({}))", parts.list());
        let sql = parts.statement(&rows, key, change, found, options, profile)?;
        // Greenplum's two statements cannot be prepared as one.
        if sql.contains("; ") {
            return Ok(None);
        }
        Ok(Some(Self::Unnest { sql, items: columns.iter().map(|column| column.pg_type.oid).collect() }))
    }

    /// The statement that decides what becomes of the rows, for a plan; the one for a single row where there are many.
    pub(super) fn statement(&self) -> String {
        match self {
            Self::Copy { copy, .. } => copy.clone(),
            Self::Merge { merge, .. } => merge.clone(),
            Self::Insert { into, columns, .. } => insert(into, *columns, 1),
            Self::Unnest { sql, .. } => sql.clone(),
        }
    }

    /// The most rows of one INSERT.
    pub(super) fn insert_rows(columns: usize) -> usize {
        let most = (MAX_PARAMETERS / columns.max(1)).clamp(1, MAX_INSERT_ROWS);
        // The largest power of two: the rest of a batch is then a few statements that are prepared already.
        1 << most.ilog2()
    }
}

/// What the statements of changes are made of.
struct Parts {
    table: String,
    /// Each column, its type, and whether it travels as text.
    columns: Vec<(String, String, bool)>,
}

impl Parts {
    fn new(found: &CatalogTable, schema: &Schema) -> Result<Self> {
        let table = table_name(&TableId::with_schema(found.schema.as_str(), found.name.as_str()), None)?;
        let columns = schema.columns().iter().filter_map(|column| found.column(column.name()));
        let columns = columns.map(|column| {
            Ok((quote(&column.name)?, column.pg_type.name.clone(), !CopyDecoder::reads(&column.pg_type)))
        });
        Ok(Self { table, columns: columns.collect::<Result<_>>()? })
    }

    fn list(&self) -> String {
        self.columns.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The statement that applies the rows of `from`.
    fn statement(
        &self,
        from: &str,
        key: &Key,
        change: Change,
        found: &CatalogTable,
        options: &PostgresOptions,
        profile: &Profile,
    ) -> Result<String> {
        let (table, list) = (&self.table, self.list());
        let names: Vec<String> = self.columns.iter().map(|(name, ..)| name.clone()).collect();
        let cast = self.columns.iter().map(|(name, data_type, text)| match text {
            true => format!("{name}::{data_type} AS {name}"),
            false => name.clone(),
        });
        let from = match self.columns.iter().any(|(_, _, text)| *text) {
            true => format!("(SELECT {} FROM {from} AS r)", cast.collect::<Vec<_>>().join(", ")),
            false => from.to_owned(),
        };
        Ok(match change {
            Change::Delete => format!("DELETE FROM {table} AS t USING {from} AS s WHERE {}", equal(key)?),
            // All that is known is the key: the row stays as it is.
            Change::Update if names.len() == key.columns.len() => "SELECT 0, 0".to_owned(),
            Change::Update => update(table, &from, &names, Some(key))?,
            _ if !profile.on_conflict => {
                let insert = insert_missing(table, &from, &list, Some(key))?;
                match names.len() == key.columns.len() {
                    true => insert,
                    false => format!("{}; {insert}", update(table, &from, &names, Some(key))?),
                }
            }
            _ => Into {
                table: table.clone(),
                list: list.clone(),
                conflict: conflict(&names, Some(key), options)?,
                counted: count(found, options, profile).is_some(),
                same: (!found.plain || !profile.xmax).then(|| equal(key)).transpose()?,
            }
            .rows(&format!("SELECT {list} FROM {from} AS r")),
        })
    }
}

/// Where rows are inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Into {
    table: String,
    list: String,
    /// What follows the rows, with a blank before it.
    conflict: String,
    /// Whether statistics tell how many rows replaced others.
    counted: bool,
    /// How rows `s` are equal to rows `t` of the table, where the server cannot tell which of them replaced one.
    same: Option<String>,
}

impl Into {
    /// The statement that inserts the rows of `query`. Where they may replace others it returns how many were new and
    /// how many replaced one.
    fn rows(&self, query: &str) -> String {
        let Self { table, list, conflict, counted, same } = self;
        if *counted || !conflict.contains(" DO UPDATE ") {
            return format!("INSERT INTO {table} ({list}) {query}{conflict}");
        }
        match same {
            // A row that was there before has been locked by this transaction: its xmax is not 0.
            None => format!(
                "WITH w AS (INSERT INTO {table} ({list}) {query}{conflict} RETURNING xmax = 0 AS new) \
                 SELECT count(*) FILTER (WHERE new), count(*) FILTER (WHERE NOT new) FROM w"
            ),
            // All parts see the table as it was before.
            Some(same) => format!(
                "WITH s ({list}) AS ({query}), \
                 e AS (SELECT count(*) AS n FROM s WHERE EXISTS (SELECT FROM {table} AS t WHERE {same})), \
                 w AS (INSERT INTO {table} ({list}) SELECT {list} FROM s{conflict} RETURNING 1) \
                 SELECT (SELECT count(*) FROM w) - e.n, e.n FROM e"
            ),
        }
    }
}

/// INSERT of `rows` rows.
pub(super) fn insert(into: &Into, columns: usize, rows: usize) -> String {
    let mut sql = String::with_capacity(rows * columns * 7);
    sql.push_str("VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            if column > 1 {
                sql.push(',');
            }
            sql.push('$');
            sql.push_str(&(row * columns + column).to_string());
        }
        sql.push(')');
    }
    into.rows(&sql)
}

/// What follows INSERT for rows that are there already.
fn conflict(names: &[String], key: Option<&Key>, options: &PostgresOptions) -> Result<String> {
    let target = |key: &Key| -> Result<Vec<String>> { key.columns.iter().map(|name| quote(name)).collect() };
    Ok(match (options.mode, key) {
        (Mode::InsertIgnore, Some(key)) if !options.key.is_empty() => {
            format!(" ON CONFLICT ({}) DO NOTHING", target(key)?.join(", "))
        }
        (Mode::InsertIgnore, _) => " ON CONFLICT DO NOTHING".to_owned(),
        (Mode::Upsert, Some(key)) => {
            let target = target(key)?;
            let set: Vec<_> = names
                .iter()
                .filter(|name| !target.contains(name))
                .map(|name| format!("{name} = EXCLUDED.{name}"))
                .collect();
            match set.is_empty() {
                // All columns are of the key: a row that is there already is what it should be.
                true => format!(" ON CONFLICT ({}) DO NOTHING", target.join(", ")),
                false => format!(" ON CONFLICT ({}) DO UPDATE SET {}", target.join(", "), set.join(", ")),
            }
        }
        (Mode::Upsert | Mode::Update, None) => {
            return Err(Error::new(ErrorKind::Internal, "no key for a mode that needs one"));
        }
        _ => String::new(),
    })
}

/// The rows of `stage` replace those with their key.
fn update(table: &str, stage: &str, names: &[String], key: Option<&Key>) -> Result<String> {
    let key = key.ok_or_else(|| Error::new(ErrorKind::Internal, "no key for a mode that needs one"))?;
    let same = equal(key)?;
    let key: Vec<String> = key.columns.iter().map(|name| quote(name)).collect::<Result<_>>()?;
    let set: Vec<_> =
        names.iter().filter(|name| !key.contains(name)).map(|name| format!("{name} = s.{name}")).collect();
    if set.is_empty() {
        return Err(Error::config("mode=update has nothing to do: all columns of the rows are of the key"));
    }
    Ok(format!("UPDATE {table} AS t SET {} FROM {stage} AS s WHERE {same}", set.join(", ")))
}

/// The rows of `stage` whose key is not there yet.
fn insert_missing(table: &str, stage: &str, list: &str, key: Option<&Key>) -> Result<String> {
    let key = key.ok_or_else(|| Error::new(ErrorKind::Internal, "no key for a mode that needs one"))?;
    let same = equal(key)?;
    Ok(format!(
        "INSERT INTO {table} ({list}) SELECT {list} FROM {stage} AS s WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same})"
    ))
}

/// The rows `s` and `t` have the same key.
fn equal(key: &Key) -> Result<String> {
    let same: Vec<_> = key
        .columns
        .iter()
        .map(|name| quote(name).map(|name| format!("t.{name} = s.{name}")))
        .collect::<Result<_>>()?;
    Ok(same.join(" AND "))
}

/// The type of an array's items: without length or precision, which the encoder has seen to.
fn array_item(column: &CatalogColumn) -> Result<String> {
    let PgType { name, kind, .. } = &column.pg_type;
    if matches!(kind, PgKind::Array(_)) {
        return Err(Error::config(format!(
            "strategy=unnest has no way for column {:?}, an array",
            column.name
        ))
        .with_hint("use strategy=insert or strategy=merge"));
    }
    // By their usual names these two have the length 1, and a cast to it would cut.
    match column.pg_type.oid {
        oid::BPCHAR => return Ok("bpchar".to_owned()),
        oid::BIT => return Ok("\"bit\"".to_owned()),
        _ => {}
    }
    // The modifier stands in parentheses, and before what follows it: "timestamp(3) with time zone".
    Ok(match (name.find('('), name.find(')')) {
        (Some(from), Some(to)) if kind == &PgKind::Base && from < to => {
            let rest = name.get(to + 1..).unwrap_or_default();
            format!("{}{rest}", name.get(..from).unwrap_or_default())
        }
        _ => name.clone(),
    })
}
