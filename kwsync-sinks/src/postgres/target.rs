//! A table as rows are written to it: which columns, of which types, by which COPY.

use kwsync_core::system::kwdb;
use kwsync_core::system::postgres::catalog::{CatalogColumn, CatalogTable};
use kwsync_core::system::postgres::ddl;
use kwsync_core::system::postgres::defaults;
use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::types::{PgType, oid, sql_type};
use kwsync_core::{Column, DataType, Error, ErrorKind, Result, Schema, TableId, TimeUnit, widen};
use kwsync_formats::pgcopy::{CopyColumn, CopyDecoder};

use super::config::{Create, Mode, PostgresOptions, Strategy, TimestampNs};
use super::key::Key;

/// What has to happen before rows of some columns can be written to a table.
#[derive(Debug)]
pub(super) struct Change {
    /// The table as SQL names it.
    pub(super) name: String,
    pub(super) statements: Vec<String>,
    /// What of the source a table that is made does not have.
    pub(super) left_out: Vec<String>,
    /// Columns of it whose numbers count on by an identity.
    pub(super) identities: Vec<String>,
    /// The type that each column of the schema is created with, where it is created.
    pub(super) created: Vec<Option<String>>,
    /// The columns that tell rows apart.
    pub(super) key: Option<Key>,
}

/// The table that rows of `table` go to.
pub(super) fn renamed(table: &TableId, options: &PostgresOptions) -> TableId {
    options.table.as_ref().map_or_else(|| table.clone(), |name| table.renamed(name.as_str()))
}

/// The statements that make `table` ready for `schema`, given what the catalog has.
pub(super) fn change(
    table: &TableId,
    schema: &Schema,
    found: Option<&CatalogTable>,
    options: &PostgresOptions,
    profile: &Profile,
) -> Result<Change> {
    let at = |error: Error| {
        let place = error.location().cloned().unwrap_or_default();
        error.with_location(place.with_table(table.name()))
    };
    let name = match found {
        // With the schema it was found in, so that no other table can slip in between.
        Some(found) => {
            ddl::table_name(&TableId::with_schema(found.schema.as_str(), found.name.as_str()), None)
        }
        None => ddl::table_name(table, options.schema.as_deref()),
    }
    .map_err(at)?;
    let mut change = Change {
        name,
        statements: Vec::new(),
        left_out: Vec::new(),
        identities: Vec::new(),
        created: vec![None; schema.columns().len()],
        key: None,
    };
    let Some(found) = found else {
        if options.create == Create::Never {
            return Err(at(Error::new(ErrorKind::NotFound, format!("there is no table {}", change.name))
                .with_hint("create it, or let it be created: create=missing")));
        }
        if profile.tags {
            change.created =
                schema.columns().iter().map(|column| Some(column.data_type().to_string())).collect();
            change.statements.push(
                kwdb::ddl::create_ts_table(&change.name, schema, &options.primary_tags, &options.tags)
                    .map_err(at)?,
            );
            return Ok(change);
        }
        let columns: Vec<_> =
            schema.columns().iter().map(|column| (column, create_type(column, options))).collect();
        change.created = columns.iter().map(|(_, data_type)| Some(data_type.clone())).collect();
        let key = match options.key.as_slice() {
            // The key that the rows have where they come from.
            [] => schema.key().into_iter().map(str::to_owned).collect(),
            key => key.to_vec(),
        };
        let mut defined = Vec::with_capacity(columns.len());
        for (column, data_type) in columns {
            let clause = match options.definitions {
                true => defaults::clause(column, &data_type, profile).map_err(at)?,
                false => defaults::Clause::default(),
            };
            change.statements.extend(clause.before);
            change.left_out.extend(clause.left_out);
            change.identities.extend(clause.identity.then(|| column.name().to_owned()));
            defined.push((column, data_type + &clause.sql));
        }
        let create = ddl::create_table(&change.name, defined, &key, options.unlogged).map_err(at)?;
        change.statements.push(create + &storage(schema, &key, options, profile)?);
        if matches!(profile.server, Server::PostgreSql | Server::Greenplum) {
            for (column, comment) in schema.columns().iter().filter_map(|c| Some((c, c.comment()?))) {
                let column = ddl::quote(column.name()).map_err(at)?;
                let comment = ddl::literal(comment);
                change.statements.push(format!("COMMENT ON COLUMN {}.{column} IS {comment}", change.name));
            }
        }
        return Ok(change);
    };
    for (column, created) in schema.columns().iter().zip(&mut change.created) {
        match found.column(column.name()) {
            Some(known) if known.generated => {
                let text =
                    format!("column {:?} of {} is filled in by the server", column.name(), change.name);
                return Err(at(Error::new(ErrorKind::Schema, text)
                    .with_hint(format!("leave it out: -T drop-columns:{}", column.name()))));
            }
            Some(known) if options.create == Create::Evolve => {
                let was = known.pg_type.data_type();
                if let Some(wide) = widen(&was, column.data_type()).filter(|wide| *wide != was) {
                    let data_type = sql_type(&wide);
                    change.statements.push(ddl::widen_column(&change.name, column, &data_type).map_err(at)?);
                    *created = Some(data_type);
                }
            }
            Some(_) => {}
            None if options.create == Create::Never => {
                let text = format!("{} has no column {:?}", change.name, column.name());
                return Err(at(Error::new(ErrorKind::Schema, text).with_hint(format!(
                    "add it, let it be added with create=missing, or leave it out: -T drop-columns:{}",
                    column.name()
                ))));
            }
            None => {
                let data_type = create_type(column, options);
                change
                    .statements
                    .push(ddl::add_column(&change.name, column, &data_type, profile).map_err(at)?);
                *created = Some(data_type);
            }
        }
    }
    let lacking = found.columns.iter().find(|known| is_lacking(known, schema));
    match lacking {
        Some(known) => {
            let text = format!("{} wants column {:?}, which the rows do not have", change.name, known.name);
            Err(at(Error::new(ErrorKind::Schema, text).with_hint("give it a default, or let it be null")))
        }
        None => Ok(change),
    }
}

fn is_lacking(known: &CatalogColumn, schema: &Schema) -> bool {
    known.not_null && !known.has_default && !known.generated && schema.column(&known.name).is_none()
}

/// What stands behind CREATE TABLE: how rows are stored, and spread over nodes.
fn storage(schema: &Schema, key: &[String], options: &PostgresOptions, profile: &Profile) -> Result<String> {
    let list = |names: &[String]| -> Result<String> {
        Ok(names.iter().map(|name| ddl::quote(name)).collect::<Result<Vec<_>>>()?.join(", "))
    };
    let mut text = String::new();
    if !profile.distributed {
        return match (&options.table_options, options.distributed_by.is_empty()) {
            (None, true) => Ok(text),
            _ => Err(Error::config(format!(
                "distributed_by and table_options mean nothing to {}",
                profile.server
            ))
            .with_hint("leave them out, or say profile=greenplum")),
        };
    }
    if let Some(with) = &options.table_options {
        text.push_str(&format!(" WITH ({with})"));
    }
    match options.distributed_by.as_slice() {
        // As the server would by itself, and said.
        [] if key.is_empty() => {}
        [] => text.push_str(&format!(" DISTRIBUTED BY ({})", list(key)?)),
        [one] if one == "RANDOMLY" => text.push_str(" DISTRIBUTED RANDOMLY"),
        // Of several tables some may have other columns: those go by their key.
        columns if columns.iter().any(|name| schema.column(name).is_none()) => {
            let by = if key.is_empty() {
                " DISTRIBUTED RANDOMLY".to_owned()
            } else {
                format!(" DISTRIBUTED BY ({})", list(key)?)
            };
            text.push_str(&by);
        }
        columns => text.push_str(&format!(" DISTRIBUTED BY ({})", list(columns)?)),
    }
    Ok(text)
}

fn create_type(column: &Column, options: &PostgresOptions) -> String {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond) | DataType::TimestampTz(TimeUnit::Nanosecond)
            if options.timestamp_ns == TimestampNs::BigInt =>
        {
            "bigint".to_owned()
        }
        _ => ddl::column_type(column),
    }
}

/// Whether a column that rows of `schema` fill is of a type of which only the text form is known, and rows go in by a way
/// that can send it.
pub(super) fn needs_text(found: &CatalogTable, schema: &Schema, options: &PostgresOptions) -> bool {
    let can = matches!(options.strategy, Strategy::Auto | Strategy::CopyText | Strategy::CopyCsv)
        && !matches!(options.mode, Mode::InsertIgnore | Mode::Upsert | Mode::Update);
    let known = schema.columns().iter().filter_map(|column| found.column(column.name()));
    can && known.into_iter().any(|column| !CopyDecoder::reads(&column.pg_type))
}

/// The columns of the target that changes of `schema` are staged for: as [`copy_columns`], those of which only the text form is known as text.
pub(super) fn staged_columns(found: &CatalogTable, schema: &Schema) -> Result<Vec<CopyColumn>> {
    let columns = schema.columns().iter().map(|column| match found.column(column.name()) {
        Some(known) if !CopyDecoder::reads(&known.pg_type) => {
            Ok(CopyColumn::new(known.name.as_str(), PgType::base(oid::TEXT, -1, "text")))
        }
        Some(known) => Ok(CopyColumn::new(known.name.as_str(), known.pg_type.clone())),
        None => Err(lost_column(found, column)),
    });
    columns.collect()
}

fn lost_column(found: &CatalogTable, column: &Column) -> Error {
    Error::new(ErrorKind::Schema, format!("table {} has lost its column {:?}", found.name, column.name()))
        .with_hint("somebody changed the table while it was being written; run again")
}

/// The columns of the target that rows of `schema` fill, in the order of the schema.
pub(super) fn copy_columns(
    found: &CatalogTable,
    schema: &Schema,
    options: &PostgresOptions,
) -> Result<Vec<CopyColumn>> {
    let as_text = needs_text(found, schema, options);
    schema
        .columns()
        .iter()
        .map(|column| match found.column(column.name()) {
            // The server reads the text of a type that only it knows.
            Some(known) if as_text && !CopyDecoder::reads(&known.pg_type) => {
                Ok(CopyColumn::new(known.name.as_str(), PgType::base(oid::TEXT, -1, "text")))
            }
            Some(known) => Ok(CopyColumn::new(known.name.as_str(), known.pg_type.clone())),
            None => Err(lost_column(found, column)),
        })
        .collect()
}
