//! What becomes of the columns of a schema, in a table as the server has it.

use std::sync::Arc;

use kwsync_core::system::tdengine::{
    CHILD_COLUMN, CatalogColumn, CatalogTable, Parts, column_name, database_name, table_name,
};
use kwsync_core::{Column, Error, ErrorKind, Location, Result, Role, Schema, TimeUnit};
use kwsync_formats::tdengine::{LiteralEncoder, LiteralOptions, LiteralTarget};

use super::config::TdengineOptions;
use super::naming::Naming;

/// A table at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) table: CatalogTable,
    /// Whether it is a subtable: its tags are its own.
    pub(super) is_child: bool,
    pub(super) unit: TimeUnit,
}

impl Target {
    /// Whether rows go to subtables of it.
    pub(super) fn is_super(&self) -> bool {
        self.table.has_tags() && !self.is_child
    }

    /// # Errors
    /// `Schema` where the rows name their subtables, and it has none.
    pub(super) fn takes_names(&self, parts: &Parts) -> Result<()> {
        if self.is_super() || parts.child.is_none() {
            return Ok(());
        }
        let what = if self.is_child { "a subtable" } else { "no supertable" };
        let name = self.table.name.as_str();
        let text =
            format!("{name} is {what}, and the rows say which subtable they belong to ({CHILD_COLUMN})");
        Err(Error::new(ErrorKind::Schema, text)
            .with_location(Location::new().with_table(name))
            .with_hint("leave that out: -T drop-columns:tbname, or give the rows another table: -T rename-super-table:..."))
    }

    /// The column or tag that `column` goes to: the one of its name, or for the time the first.
    pub(super) fn place(&self, column: &Column, is_time: bool) -> Option<&CatalogColumn> {
        let by_name = self.table.column(column.name()).filter(|known| !(self.is_child && known.tag));
        by_name.or_else(|| self.table.time().filter(|_| is_time))
    }
}

/// How rows are written.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) schema: Arc<Schema>,
    pub(super) target: Arc<Target>,
    /// The time and the fields.
    pub(super) values: LiteralEncoder,
    /// The tags, where rows go to subtables, and the same one by one.
    pub(super) tags: Option<(LiteralEncoder, Vec<LiteralEncoder>)>,
    pub(super) naming: Option<Naming>,
    /// `` `db`. ``, which stands before names of tables.
    pub(super) database: String,
    /// `` `db`.`table` ``
    pub(super) name: String,
    /// `` USING `db`.`table` (`tag`) TAGS ( ``
    pub(super) using: Vec<u8>,
    /// `` (`ts`,`v`) VALUES ``
    pub(super) columns: Vec<u8>,
}

impl Layout {
    /// # Errors
    /// `Schema` where the types do not go together, or a column is missing; `Config` for a template without its columns.
    pub(super) fn of(options: &TdengineOptions, schema: &Arc<Schema>, target: &Arc<Target>) -> Result<Self> {
        let parts = Parts::of(schema, &options.time_column)?;
        target.takes_names(&parts)?;
        let table = &target.table;
        let columns = schema.columns();
        let (mut values, mut tags) = (Vec::new(), Vec::new());
        let mut own: Vec<usize> = vec![parts.time];
        own.extend(&parts.fields);
        own.extend(&parts.tags);
        for at in own {
            let Some(column) = columns.get(at) else { continue };
            let place = || Location::new().with_table(&*table.name).with_column(column.name());
            let is_time = at == parts.time;
            let Some(known) = target.place(column, is_time) else {
                let text = format!("{} has no column {:?}", table.name, column.name());
                return Err(Error::new(ErrorKind::Schema, text).with_location(place()));
            };
            let Some(column_type) = known.column_type else {
                let text =
                    format!("rows cannot be written to {}, the type of {:?}", known.type_name, known.name);
                return Err(Error::new(ErrorKind::Unsupported, text).with_location(place()));
            };
            if is_tag(column) && !known.tag && !known.key && !is_time {
                let named = target.is_super() && (parts.child.is_some() || options.subtable.is_some());
                if !named {
                    return Err(tag_as_column(&table.name, column));
                }
            }
            let not_null = known.key || table.time() == Some(known);
            let made = LiteralTarget::new(at, known.name.as_str(), column_type).with_not_null(not_null);
            if known.tag { &mut tags } else { &mut values }.push(made);
        }
        if !values
            .iter()
            .any(|value| Some(value.name.as_str()) == table.time().map(|time| time.name.as_str()))
        {
            let text = format!(
                "{} begins with the time {:?}, which the rows do not have",
                table.name,
                table.time().map_or("", |time| time.name.as_str())
            );
            return Err(Error::new(ErrorKind::Schema, text)
                .with_location(Location::new().with_table(&*table.name))
                .with_hint("say which column it is: time_column=NAME, or -T set-role:timestamp=NAME"));
        }
        if target.is_super() && tags.is_empty() {
            let text = format!("{} is a supertable, and the rows have none of its tags", table.name);
            return Err(Error::new(ErrorKind::Schema, text)
                .with_location(Location::new().with_table(&*table.name))
                .with_hint("add one: -T add-tag:NAME=VALUE, or name a subtable: table=NAME"));
        }
        let database = format!("{}.", database_name(&options.connect.database)?);
        let name = format!("{database}{}", table_name(&table.name)?);
        let list = |targets: &[LiteralTarget]| -> Result<String> {
            let names: Vec<_> =
                targets.iter().map(|target| column_name(&target.name)).collect::<Result<_>>()?;
            Ok(names.join(","))
        };
        let literal = LiteralOptions::new(target.unit).with_truncate_times(options.truncate_times);
        let at = |error: Error| {
            let place = error.location().cloned().unwrap_or_default();
            error.with_location(place.with_table(&*table.name))
        };
        let encoder = |targets| LiteralEncoder::try_new(schema, targets, literal).map_err(at);
        let head = format!(" ({}) VALUES ", list(&values)?);
        let (mut using, mut naming, mut tag_encoders) = (Vec::new(), None, None);
        if target.is_super() {
            naming = Some(Naming::of(&table.name, schema, options.subtable.as_ref(), &tags)?);
            using = format!(" USING {name} ({}) TAGS (", list(&tags)?).into_bytes();
            let each = tags.iter().map(|tag| encoder(vec![tag.clone()])).collect::<Result<_>>()?;
            tag_encoders = Some((encoder(tags)?, each));
        }
        Ok(Self {
            schema: Arc::clone(schema),
            target: Arc::clone(target),
            values: encoder(values)?,
            tags: tag_encoders,
            naming,
            database,
            name,
            using,
            columns: head.into_bytes(),
        })
    }
}

/// Rows of one time that differ in such a tag alone would replace each other.
pub(super) fn tag_as_column(table: &str, column: &Column) -> Error {
    let name = column.name();
    let text = format!(
        "{name:?} is a tag of the rows and would be a column of {table} that does not tell rows apart: series would replace each other"
    );
    Error::new(ErrorKind::Schema, text)
        .with_location(Location::new().with_table(table).with_column(name))
        .with_hint(format!(
            "write to a supertable that has the tag; or, where the rows of a time are one, make it a field: -T set-role:field={name}"
        ))
}

/// Whether a column is made as a tag.
pub(super) fn is_tag(column: &Column) -> bool {
    matches!(column.role(), Role::Tag | Role::PrimaryTag)
}
