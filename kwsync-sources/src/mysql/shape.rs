//! How the rows of a table or query are selected, and what comes of it.

use std::sync::Arc;

use kwsync_core::system::mysql::catalog::{CatalogColumn, UniqueIndex};
use kwsync_core::system::mysql::ddl::{quote, table_name};
use kwsync_core::system::mysql::keys::CatalogKeys;
use kwsync_core::system::mysql::session::error;
use kwsync_core::system::mysql::types::unit_of;
use kwsync_core::{Column, DataType, Error, Result, Schema, TableId, TimeUnit};
use mysql_async::Conn;
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::prelude::Queryable;

use super::config::{MysqlSourceOptions, TimeAs, ZeroDates};
use crate::relational::one_line;
use crate::relational::ranged::Spec;

/// The character set that is none: bytes.
const BINARY: u16 = 63;

/// A table as the catalog has it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<CatalogColumn>,
    pub(super) unique: Vec<UniqueIndex>,
    /// Its indexes and foreign keys.
    pub(super) keys: CatalogKeys,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What of the table does not go with its rows.
    pub(super) fn left_behind(&self, id: &TableId) -> Vec<String> {
        let mut notes = Vec::new();
        for column in &self.columns {
            let name = &column.name;
            if column.generated {
                notes.push(format!(
                    "column {name:?} of {id} is generated: its values are carried over, its expression is not"
                ));
            }
            if let Some(what) = column.default.on_update() {
                notes.push(format!("column {name:?} of {id}: {what} is not carried over"));
            }
        }
        notes.extend(self.keys.left_out.iter().map(|what| format!("not carried over from {id}: {what}")));
        notes
    }

    /// The columns by which rows are told apart: of the primary key, else of a unique index whose columns are never null.
    pub(super) fn key(&self) -> Vec<String> {
        let never_null = |index: &&UniqueIndex| {
            index.columns.iter().all(|name| self.column(name).is_some_and(|column| !column.nullable))
        };
        self.unique.iter().find(never_null).map(|index| index.columns.clone()).unwrap_or_default()
    }

    /// The same for changes, whose rows have no columns that the server works out.
    pub(super) fn followed_key(&self) -> Vec<String> {
        let fit = |index: &&UniqueIndex| {
            let fits = |column: &CatalogColumn| !column.nullable && !column.generated;
            index.columns.iter().all(|name| self.column(name).is_some_and(fits))
        };
        self.unique.iter().find(fit).map(|index| index.columns.clone()).unwrap_or_default()
    }

    /// Whether these columns still tell all rows apart, for changes.
    pub(super) fn is_followed_key(&self, key: &[String]) -> bool {
        let fits =
            |name: &String| self.column(name).is_some_and(|column| !column.nullable && !column.generated);
        key.iter().all(fits)
            && self.unique.iter().any(|index| {
                index.columns.len() == key.len() && key.iter().all(|name| index.columns.contains(name))
            })
    }
}

/// A selection.
#[derive(Debug)]
pub(super) struct Shape {
    list: String,
    from: String,
    /// What comes of it; parts of the key that are not among it stand behind.
    pub(super) schema: Arc<Schema>,
    /// Columns that come as something else than they are.
    pub(super) notes: Vec<String>,
}

impl Shape {
    pub(super) async fn of_table(
        connection: &mut Conn,
        options: &MysqlSourceOptions,
        id: &TableId,
        table: &Table,
    ) -> Result<Self> {
        let list = match options.columns.as_slice() {
            [] => all_columns(table, options.changes.is_some())?,
            [star] if star == "*" => all_columns(table, false)?,
            columns => columns.join(", "),
        };
        Self::made(connection, options, list, table_name(id, None)?, &id.to_string(), Some((id, table))).await
    }

    pub(super) async fn of_query(
        connection: &mut Conn,
        options: &MysqlSourceOptions,
        query: &str,
    ) -> Result<Self> {
        // On a line of its own the bracket does not fall to a comment.
        let from = format!("({query}\n) AS `kwsync query`");
        let what = format!("`{}`", one_line(query));
        Self::made(connection, options, "*".to_owned(), from, &what, None).await
    }

    async fn made(
        connection: &mut Conn,
        options: &MysqlSourceOptions,
        list: String,
        from: String,
        what: &str,
        table: Option<(&TableId, &Table)>,
    ) -> Result<Self> {
        let cannot = |found| error(found).context(format!("cannot read {what}"));
        let statement = connection.prep(format!("SELECT {list} FROM {from}")).await.map_err(cannot)?;
        let fields = statement.columns();
        connection.close(statement).await.map_err(cannot)?;
        let key = match table {
            Some((_, table)) if options.changes.is_some() => table.followed_key(),
            Some((_, table)) => {
                let primary = table.unique.first().filter(|index| index.name == "PRIMARY");
                primary.map(|index| index.columns.clone()).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let mut notes = Vec::new();
        let mut columns = Vec::with_capacity(fields.len());
        for field in fields.iter() {
            let name = field.name_str();
            // A geometry is called by its own name, but is an expression.
            let known = table.and_then(|(id, table)| {
                let own = field.org_table_str() == id.name() && table.column(&field.org_name_str()).is_some();
                if own { table.column(&field.org_name_str()) } else { None }
            });
            let of_geometry = table
                .and_then(|(_, table)| table.column(&name))
                .filter(|column| options.columns.is_empty() && column.declared == Some(DataType::Geometry));
            let data_type = known
                .or(of_geometry)
                .and_then(|known| known.declared.clone())
                .unwrap_or_else(|| result_type(field, options));
            if let Some(known) = known.filter(|known| known.type_name == "set") {
                notes.push(format!(
                    "column {name:?} of {what} is {}, which is read as text",
                    known.column_type
                ));
            }
            if of_geometry.is_some() {
                notes.push(format!("column {name:?} of {what} is read as WKT, without its SRID"));
            }
            let mut column = Column::new(name.as_ref(), data_type);
            if let Some(known) = known {
                let dates = matches!(
                    column.data_type(),
                    DataType::Date | DataType::Timestamp(_) | DataType::TimestampTz(_)
                );
                let made_null = options.zero_dates == ZeroDates::Null && dates;
                column = column.with_nullable(known.nullable || made_null);
                if let Some((id, _)) = table {
                    column = column.with_home(id.clone(), known.name.as_str());
                }
                match known.default.parse(column.data_type()) {
                    Ok(Some(default)) if !known.generated => column = column.with_default(default),
                    Err(expression) if !known.generated => {
                        notes.push(left_default(&known.name, &what, &expression))
                    }
                    _ => {}
                }
                if let Some(values) = &known.values {
                    column = column.with_values(values.iter().map(String::as_str));
                }
                if let Some(at) = key.iter().position(|name| *name == known.name) {
                    column = column.with_key(at as u16 + 1, key.len() as u16);
                }
                if let Some(comment) = &known.comment {
                    column = column.with_comment(comment.as_str());
                }
            }
            columns.push(column);
        }
        let schema = Schema::new(columns).map_err(|error| {
            error
                .context(format!("cannot read {what}"))
                .with_hint("give one of them another name: COLUMN AS name")
        })?;
        let schema = match table {
            Some((_, table)) => schema.with_relations(&table.keys.indexes, &table.keys.keys)?,
            None => schema,
        };
        Ok(Self { list, from, schema: Arc::new(schema), notes })
    }

    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// The statement for a split, from behind the row with the key `after` on; and which of its columns are the parts of the
    /// key.
    pub(super) fn statement(
        &self,
        spec: &Spec,
        condition: Option<&str>,
        after: Option<&[String]>,
    ) -> Result<(String, Vec<usize>)> {
        let key: Vec<_> = spec.key.iter().map(|name| quote(name)).collect::<Result<_>>()?;
        let mut list = vec![self.list.clone()];
        let mut parts = Vec::with_capacity(key.len());
        for (name, quoted) in spec.key.iter().zip(&key) {
            // By its home: what is called like the key may be an expression, and the key may be called otherwise.
            let is_it = |column: &Column| column.home().is_some_and(|(_, home)| home == name);
            let columns = self.schema.columns();
            parts.push(columns.iter().position(is_it).unwrap_or_else(|| {
                list.push(format!("{quoted} AS `kwsync key {}`", list.len()));
                columns.len() + list.len() - 2
            }));
        }
        let mut conditions: Vec<String> = condition.iter().map(|sql| format!("({sql}\n)")).collect();
        if let Some(range) = &spec.range {
            let name = quote(&range.column)?;
            let mut parts: Vec<String> = Vec::new();
            parts.extend(range.from.map(|from| format!("{name} >= {from}")));
            parts.extend(range.to.map(|to| format!("{name} < {to}")));
            let within = parts.join(" AND ");
            conditions.push(if range.nulls { format!("({within} OR {name} IS NULL)") } else { within });
        }
        if let Some(after) = after.filter(|after| after.len() == key.len()) {
            // (a, b) > (x, y), in the words that the server finds its index by.
            let mut ways = Vec::with_capacity(key.len());
            for (at, (name, value)) in key.iter().zip(after).enumerate() {
                let same =
                    key.iter().zip(after).take(at).map(|(name, value)| format!("{name} = {value} AND "));
                ways.push(format!("({}{name} > {value})", same.collect::<String>()));
            }
            conditions.push(format!("({})", ways.join(" OR ")));
        }
        let mut sql = format!("SELECT {} FROM {}", list.join(", "), self.from);
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        if !parts.is_empty() {
            // By number: a name would mean what is called so in the list.
            let order: Vec<_> = parts.iter().map(|at| (at + 1).to_string()).collect();
            sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        Ok((sql, parts))
    }

    /// The statement whose rows come in the order of a column, quoted already, which stands behind the others under a
    /// name of its own.
    pub(super) fn ordered(&self, column: &str, called: &str, conditions: &[String]) -> Result<String> {
        Ok(format!(
            "SELECT {}, {column} AS {} FROM {} WHERE {} ORDER BY {column}",
            self.list,
            quote(called)?,
            self.from,
            conditions.join(" AND ")
        ))
    }

    /// What a column is that can be selected.
    pub(super) async fn type_of(
        &self,
        connection: &mut Conn,
        options: &MysqlSourceOptions,
        column: &str,
    ) -> Result<DataType> {
        let sql = format!("SELECT {} FROM {}", quote(column)?, self.from);
        let statement = connection.prep(sql).await.map_err(error)?;
        let fields = statement.columns();
        connection.close(statement).await.map_err(error)?;
        Ok(fields.first().map_or(DataType::Text, |field| result_type(field, options)))
    }

    /// A column that comes out of the selection.
    pub(super) fn column(&self, name: &str, what: &str) -> Result<&Column> {
        self.schema.column(name).ok_or_else(|| {
            let there: Vec<_> = self.schema.columns().iter().map(Column::name).collect();
            Error::config(format!("split_by={name}: {what} has no such column"))
                .with_hint(format!("it has {}", there.join(", ")))
        })
    }
}

fn left_default(name: &str, what: &dyn std::fmt::Display, expression: &str) -> String {
    format!("the default of column {name:?} of {what} is not carried over: {expression}")
}

/// All columns; with changes not those that the server works out, of which the log need not tell.
fn all_columns(table: &Table, changes: bool) -> Result<String> {
    let name = |column: &CatalogColumn| {
        let name = quote(&column.name)?;
        Ok(match column.declared {
            Some(DataType::Geometry) => format!("ST_AsText({name}) AS {name}"),
            _ => name,
        })
    };
    let columns = table.columns.iter().filter(|column| !(changes && column.generated));
    Ok(columns.map(name).collect::<Result<Vec<_>>>()?.join(", "))
}

/// What a column of a result is.
fn result_type(field: &mysql_async::Column, options: &MysqlSourceOptions) -> DataType {
    use ColumnType as C;
    let unsigned = field.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let length = field.column_length();
    let scale = i16::from(field.decimals());
    match (field.column_type(), unsigned) {
        (C::MYSQL_TYPE_TINY, false) => DataType::Int8,
        (C::MYSQL_TYPE_TINY, true) => DataType::UInt8,
        (C::MYSQL_TYPE_SHORT, false) | (C::MYSQL_TYPE_YEAR, _) => DataType::Int16,
        (C::MYSQL_TYPE_SHORT, true) => DataType::UInt16,
        (C::MYSQL_TYPE_LONG | C::MYSQL_TYPE_INT24, false) => DataType::Int32,
        (C::MYSQL_TYPE_LONG | C::MYSQL_TYPE_INT24, true) => DataType::UInt32,
        (C::MYSQL_TYPE_LONGLONG, false) => DataType::Int64,
        (C::MYSQL_TYPE_LONGLONG, true) => DataType::UInt64,
        (C::MYSQL_TYPE_FLOAT, _) => DataType::Float32,
        (C::MYSQL_TYPE_DOUBLE, _) => DataType::Float64,
        (C::MYSQL_TYPE_DECIMAL | C::MYSQL_TYPE_NEWDECIMAL, _) => {
            // The width of the text: digits, a sign, a point.
            let digits = length.saturating_sub(u32::from(scale > 0)).saturating_sub(u32::from(!unsigned));
            let digits = digits.clamp(u32::from(scale.unsigned_abs()).max(1), 65);
            DataType::Numeric(Some((digits as u16, scale)))
        }
        (C::MYSQL_TYPE_BIT, _) => DataType::Bit(length.max(1)),
        (C::MYSQL_TYPE_DATE | C::MYSQL_TYPE_NEWDATE, _) => DataType::Date,
        (C::MYSQL_TYPE_DATETIME | C::MYSQL_TYPE_DATETIME2, _) => {
            DataType::Timestamp(unit_of(scale.unsigned_abs().into()))
        }
        (C::MYSQL_TYPE_TIMESTAMP | C::MYSQL_TYPE_TIMESTAMP2, _) => {
            DataType::TimestampTz(unit_of(scale.unsigned_abs().into()))
        }
        (C::MYSQL_TYPE_TIME | C::MYSQL_TYPE_TIME2, _) => match options.time_as {
            TimeAs::Time => DataType::Time(TimeUnit::Microsecond),
            TimeAs::Interval => DataType::Interval,
            TimeAs::Text => DataType::Text,
        },
        (C::MYSQL_TYPE_JSON, _) => DataType::Json,
        (C::MYSQL_TYPE_GEOMETRY, _) => DataType::Bytes,
        _ if field.character_set() == BINARY => DataType::Bytes,
        _ => DataType::Text,
    }
}
