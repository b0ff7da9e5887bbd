//! A table as rows are written to it.

use kwsync_core::system::mysql::catalog::{self, CatalogColumn};
use kwsync_core::system::mysql::ddl;
use kwsync_core::{Cast, DataType, Error, ErrorKind, Location, Result, Schema, TableId};
use mysql_async::Conn;

use super::config::MysqlOptions;
use super::literal::Target;

/// What the catalog has of a table, and what has to happen before rows of some columns can be written to it.
#[derive(Debug)]
pub(super) struct Change {
    /// The table as SQL names it.
    pub(super) name: String,
    pub(super) statements: Vec<String>,
    /// What of the source a table that is made does not have.
    pub(super) left_out: Vec<String>,
    /// The columns that are there.
    pub(super) found: Vec<CatalogColumn>,
    /// The engine; none of a table that will be made.
    pub(super) engine: Option<String>,
}

/// The table that rows of `table` go to.
pub(super) fn renamed(table: &TableId, options: &MysqlOptions) -> TableId {
    options.table.as_ref().map_or_else(|| table.clone(), |name| table.renamed(name.as_str()))
}

pub(super) async fn look(
    control: &mut Conn,
    table: &TableId,
    schema: &Schema,
    options: &MysqlOptions,
) -> Result<Change> {
    let at = |error: Error| {
        let place = error.location().cloned().unwrap_or_default();
        error.with_location(place.with_table(table.name()))
    };
    let default = options.connect.database.as_deref();
    let name = ddl::table_name(table, default).map_err(at)?;
    let database = table.schema().or(default).unwrap_or_default();
    let found = catalog::columns(control, database, table.name()).await?;
    let mut change = Change { name, statements: Vec::new(), left_out: Vec::new(), found, engine: None };
    if change.found.is_empty() {
        if !options.create {
            return Err(at(Error::new(ErrorKind::NotFound, format!("there is no table {}", change.name))
                .with_hint("create it, or let it be created: create=missing")));
        }
        let key: Vec<String> = match options.key.as_slice() {
            [] => schema.key().into_iter().map(str::to_owned).collect(),
            key => key.to_vec(),
        };
        let plain;
        let schema = match options.definitions {
            true => schema,
            false => {
                plain = schema.without_definitions();
                &plain
            }
        };
        let (sql, left_out) = ddl::create_table(&change.name, schema, &key).map_err(at)?;
        change.statements.push(sql);
        change.left_out = left_out;
        return Ok(change);
    }
    let tables = catalog::tables(control, Some(database), Some(table.name())).await?;
    change.engine = tables.into_iter().next().map(|table| table.engine);
    for column in schema.columns() {
        match change.found.iter().find(|known| known.name == column.name()) {
            Some(known) if known.generated => {
                let text =
                    format!("column {:?} of {} is filled in by the server", column.name(), change.name);
                return Err(at(Error::new(ErrorKind::Schema, text)
                    .with_hint(format!("leave it out: -T drop-columns:{}", column.name()))));
            }
            Some(_) => {}
            None if !options.create => {
                let text = format!("{} has no column {:?}", change.name, column.name());
                return Err(at(Error::new(ErrorKind::Schema, text).with_hint(format!(
                    "add it, let it be added with create=missing, or leave it out: -T drop-columns:{}",
                    column.name()
                ))));
            }
            None => change.statements.push(ddl::add_column(&change.name, column).map_err(at)?),
        }
    }
    let lacking = change.found.iter().find(|known| {
        !known.nullable && !known.has_default && !known.generated && schema.column(&known.name).is_none()
    });
    match lacking {
        Some(known) => {
            let text = format!("{} wants column {:?}, which the rows do not have", change.name, known.name);
            Err(at(Error::new(ErrorKind::Schema, text).with_hint("give it a default, or let it be null")))
        }
        None => Ok(change),
    }
}

/// The targets of the columns of `schema`, in their order.
///
/// # Errors
/// `Schema` where there is no exact way.
pub(super) fn targets(name: &str, found: &[CatalogColumn], schema: &Schema) -> Result<Vec<Target>> {
    schema
        .columns()
        .iter()
        .map(|column| {
            let fault = |text: String| {
                Error::new(ErrorKind::Schema, text)
                    .with_code("no_exact_cast")
                    .with_location(Location::new().with_column(column.name()))
            };
            let known = found.iter().find(|known| known.name == column.name());
            let known = known.ok_or_else(|| {
                fault(format!("{name} has lost its column {:?}", column.name()))
                    .with_hint("somebody changed the table while it was being written; run again")
            })?;
            let target = Target::of(known);
            if !target.takes(column.data_type()) {
                return Err(fault(format!(
                    "{name}: there is no exact way from {} to {}",
                    column.data_type(),
                    known.column_type
                ))
                .with_hint("cast the column before, by a transform; or make it of another type"));
            }
            Ok(target)
        })
        .collect()
}

/// What a dry run says of each column.
pub(super) fn casts(found: &[CatalogColumn], schema: &Schema) -> Vec<Cast> {
    schema
        .columns()
        .iter()
        .map(|column| {
            let known = found.iter().find(|known| known.name == column.name());
            let lossy = match (column.data_type(), known) {
                (DataType::TimestampTz(_), None) => Some("kept as the time of UTC".to_owned()),
                _ => None,
            };
            Cast {
                column: column.name().to_owned(),
                from: column.data_type().to_string(),
                to: known.map_or_else(|| ddl::column_type(column, false), |known| known.column_type.clone()),
                lossy,
            }
        })
        .collect()
}
