//! What is read: tables, their columns, and how they are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use kwsync_core::config::did_you_mean;
use kwsync_core::system::tdengine::{
    CHILD_COLUMN, CatalogTable, ColumnType, Session, column_name, database_name, table_name, text_literal,
};
use kwsync_core::{Column, DataType, Error, ErrorKind, Location, Result, Role, Schema, TableId, TimeUnit};

use super::config::TdengineOptions;
use crate::relational::{CursorTable, Kind};

/// The most bytes of a condition that names subtables; a statement has a mebibyte.
const MOST_NAMES: usize = 900_000;
/// Bytes of a table's name.
const NAME_BYTES: u32 = 192;

/// A table that is read.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) info: CursorTable,
    /// `` `db`.`table` ``
    pub(super) name: String,
    /// What is selected.
    pub(super) items: String,
    /// Conditions beside those on the time.
    pub(super) filter: String,
    /// The time's column, quoted, and its place among what is selected.
    pub(super) time: String,
    pub(super) time_at: usize,
    /// The precision of the database.
    pub(super) unit: TimeUnit,
}

impl AsRef<CursorTable> for Table {
    fn as_ref(&self) -> &CursorTable {
        &self.info
    }
}

/// A table that is asked for, and those of its subtables alone that are named.
pub(super) type Asked = BTreeMap<String, Option<Vec<String>>>;

/// The tables that the options ask for and that are there; `strict` makes an error of one that is missing.
pub(super) async fn asked(session: &mut Session, options: &TdengineOptions, strict: bool) -> Result<Asked> {
    let database = &options.connect.database;
    let supers = session.supertables(database).await?;
    let mut asked = Asked::new();
    let missing = |name: &str, others: &[String]| {
        let meant = did_you_mean(name, others.iter().map(String::as_str));
        let text = format!("the database {database:?} has no table {name:?}{meant}");
        Error::new(ErrorKind::NotFound, text).with_hint(format!(
            "it has {} supertables; names are as they were written, case counts",
            supers.len()
        ))
    };
    if options.stables.is_empty() && options.tables.is_empty() {
        asked.extend(supers.iter().map(|name| (name.clone(), None)));
        asked.extend(session.plain_tables(database).await?.into_iter().map(|name| (name, None)));
        return Ok(asked);
    }
    for name in &options.stables {
        match supers.contains(name) {
            true => drop(asked.insert(name.clone(), None)),
            false if strict => return Err(missing(name, &supers)),
            false => {}
        }
    }
    // Names alone may be supertables; all others are looked up.
    let alone = |name: &String| match name.split_once('.') {
        Some((home, own)) if supers.iter().any(|known| known == home) => own.to_owned(),
        _ => name.clone(),
    };
    let (whole, tables): (Vec<&String>, Vec<&String>) =
        options.tables.iter().partition(|name| supers.contains(name));
    asked.extend(whole.into_iter().map(|name| (name.clone(), None)));
    let names: Vec<String> = tables.iter().map(|name| alone(name)).collect();
    let homes: BTreeMap<String, Option<String>> = if names.is_empty() {
        BTreeMap::new()
    } else {
        session.homes(database, &names).await?.into_iter().collect()
    };
    for (written, name) in tables.iter().zip(names) {
        let named_home = written.strip_suffix(&format!(".{name}"));
        match homes.get(&name) {
            Some(home) if named_home.is_some_and(|named| home.as_deref() != Some(named)) && strict => {
                let text = format!("{name:?} is no subtable of {:?}", named_home.unwrap_or_default());
                return Err(Error::new(ErrorKind::NotFound, text));
            }
            Some(None) => drop(asked.insert(name, None)),
            Some(Some(home)) => match asked.entry(home.clone()).or_insert_with(|| Some(Vec::new())) {
                // All of them are read already.
                None => {}
                Some(children) if !children.contains(&name) => children.push(name),
                Some(_) => {}
            },
            None if strict => {
                let others: Vec<String> =
                    supers.iter().cloned().chain(session.plain_tables(database).await?).collect();
                return Err(missing(written, &others));
            }
            None => {}
        }
    }
    Ok(asked)
}

/// A column of what is selected.
struct Selected {
    item: String,
    column: Column,
    /// The time's own column.
    is_time: bool,
}

/// A table as it is now; none if it is gone.
pub(super) async fn table(
    session: &mut Session,
    options: &TdengineOptions,
    name: &str,
    children: Option<&[String]>,
    unit: TimeUnit,
) -> Result<Option<Table>> {
    let database = &options.connect.database;
    let Some(found) = session.describe(database, name).await? else { return Ok(None) };
    let full = format!("{}.{}", database_name(database)?, table_name(name)?);
    let time_name = found.time().map(|time| time.name.clone()).unwrap_or_default();
    let selected = match options.columns.is_empty() {
        true => all(&found, unit)?,
        false => chosen(session, options, &found, &full, unit).await?,
    };
    let Some(time_at) = selected.iter().position(|selected| selected.is_time) else {
        let text =
            format!("columns= leaves out {time_name:?}, the time of {name}, by which rows are read in order");
        return Err(Error::config(text).with_hint("add it; behind, -T drop-columns: leaves it out"));
    };
    let mut filter = String::new();
    if let Some(children) = children {
        let list: Vec<_> = children.iter().map(|child| text_literal(child)).collect::<Result<_>>()?;
        filter = format!(" AND tbname IN ({})", list.join(","));
        if filter.len() > MOST_NAMES {
            let text = format!("{} subtables of {name} are too many names for one statement", children.len());
            return Err(Error::new(ErrorKind::Limit, text)
                .with_hint("read the supertable, stables=, or the subtables in several jobs"));
        }
    }
    if let Some(condition) = &options.filter {
        filter.push_str(&format!(" AND ({condition})"));
    }
    let items: Vec<_> = selected.iter().map(|selected| selected.item.as_str()).collect();
    let items = items.join(",");
    let column = selected.get(time_at).map(|selected| selected.column.name().to_owned()).unwrap_or_default();
    let schema = Schema::new(selected.into_iter().map(|selected| selected.column).collect())?;
    let info = CursorTable {
        asked: TableId::new(name),
        table: TableId::new(name),
        schema: Arc::new(schema),
        column,
        kind: Kind::Timestamp(TimeUnit::Nanosecond, true),
        // Subtables share times; but what comes at a time that was passed is late, and is left to the lag.
        unique: true,
    };
    let time = column_name(&time_name)?;
    Ok(Some(Table { info, name: full, items, filter, time, time_at, unit }))
}

/// All columns: the time, the fields, the name of the subtable, the tags.
fn all(found: &CatalogTable, unit: TimeUnit) -> Result<Vec<Selected>> {
    let is_super = found.has_tags();
    let second = found.columns.iter().find(|column| column.key);
    let parts = 1 + u16::from(is_super) + u16::from(second.is_some());
    let mut selected = Vec::new();
    let mut tags = Vec::new();
    for (at, column) in found.columns.iter().enumerate() {
        let Some(data_type) = column.column_type.and_then(|known| known.data_type(unit)) else {
            let place = Location::new().with_table(&*found.name).with_column(&*column.name);
            let text =
                format!("values of {}, the type of {:?}, cannot be read", column.type_name, column.name);
            return Err(Error::new(ErrorKind::Unsupported, text)
                .with_location(place)
                .with_hint("leave the column out: columns=NAME,NAME lists the others"));
        };
        let mut made = Column::new(column.name.as_str(), data_type);
        if at == 0 {
            made =
                made.with_role(Role::Timestamp).with_nullable(false).with_key(1 + u16::from(is_super), parts);
        } else if column.key {
            made = made.with_nullable(false).with_key(parts, parts);
        } else if column.tag {
            made = made.with_role(Role::Tag);
        }
        let one = Selected { item: column_name(&column.name)?, column: made, is_time: at == 0 };
        if column.tag { &mut tags } else { &mut selected }.push(one);
    }
    if is_super {
        let child = Column::new(CHILD_COLUMN, DataType::VarChar(Some(NAME_BYTES)))
            .with_role(Role::PrimaryTag)
            .with_nullable(false)
            .with_key(1, parts);
        selected.push(Selected { item: CHILD_COLUMN.to_owned(), column: child, is_time: false });
    }
    selected.extend(tags);
    Ok(selected)
}

/// The columns and expressions that the operator has chosen: the server tells their names and types.
async fn chosen(
    session: &mut Session,
    options: &TdengineOptions,
    found: &CatalogTable,
    full: &str,
    unit: TimeUnit,
) -> Result<Vec<Selected>> {
    let plain = |item: &str| {
        let inner = item.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
        let known = |name: &str| found.column(name).map(|column| column.name.clone());
        inner.map_or_else(|| known(item).or_else(|| known(&item.to_ascii_lowercase())), known)
    };
    let mut items = Vec::new();
    for item in &options.columns {
        items.push(match plain(item) {
            Some(name) => column_name(&name)?,
            None => item.clone(),
        });
    }
    let told = session.rows(&format!("SELECT {} FROM {full} LIMIT 1", items.join(","))).await?;
    if told.columns.len() != items.len() {
        let text = format!(
            "columns= has {} expressions, and the server gives {} columns",
            items.len(),
            told.columns.len()
        );
        return Err(Error::config(text).with_hint("leave columns= out to read all of them"));
    }
    let mut selected = Vec::new();
    for ((item, (name, kind, length)), written) in items.into_iter().zip(told.columns).zip(&options.columns) {
        let known = plain(written).and_then(|name| found.column(&name));
        let column_type = match known {
            Some(known) => known.column_type,
            None => ColumnType::of_described(&kind, u32::try_from(length).unwrap_or(u32::MAX)),
        };
        let Some(data_type) = column_type.and_then(|known| known.data_type(unit)) else {
            let text = format!("columns=: values of {kind}, the type of {written:?}, cannot be read");
            return Err(Error::new(ErrorKind::Unsupported, text));
        };
        let is_time = known.is_some() && known == found.time();
        let name = known.map_or(name, |known| known.name.clone());
        let mut column = Column::new(name.as_str(), data_type);
        if is_time {
            column = column.with_role(Role::Timestamp).with_nullable(false);
        } else if known.is_some_and(|known| known.tag) {
            column = column.with_role(Role::Tag);
        } else if written.eq_ignore_ascii_case(CHILD_COLUMN) {
            column = column.with_role(Role::PrimaryTag);
        }
        selected.push(Selected { item, column, is_time });
    }
    Ok(selected)
}
