//! How the rows of a table or query are selected, and what comes of it.

use std::sync::Arc;

use kwsync_core::system::clickhouse::sql::{literal, quote, table_name};
use kwsync_core::system::clickhouse::types::{Type, unit_of};
use kwsync_core::{Column, Error, Result, Schema, TableId, TimeUnit};

use super::answer::Session;
use super::catalog;
use super::config::ClickHouseOptions;
use super::native::Field;
use crate::relational::{Kind, one_line};

/// What the column is called on its way in whose order rows come; none of the user's is called so.
const AT: &str = "kwsync at";

/// A selection.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    list: String,
    from: String,
    /// The columns that expressions may be about, where there are some.
    within: Option<String>,
    pub(super) fields: Arc<[Field]>,
    pub(super) schema: Arc<Schema>,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
}

/// The column by which rows are cut, or in whose order they come.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) is: Type,
    pub(super) kind: Kind,
}

impl Key {
    /// A column as one, unless its values are in no order of whole numbers.
    pub(super) fn of(name: &str, text: &str) -> Option<Self> {
        let is = Type::parse(text).ok()?;
        let kind = Kind::of(&is.data_type(false))?;
        Some(Self { name: name.to_owned(), text: text.to_owned(), is, kind })
    }

    pub(super) fn is_nullable(&self) -> bool {
        self.is.is_nullable()
    }

    /// A value as SQL has it.
    pub(super) fn literal(&self, value: i128) -> String {
        match self.is.bare() {
            Type::Date => format!("toDate({})", value.clamp(0, u16::MAX.into())),
            Type::Date32 => format!("toDate32({})", literal(&self.kind.text(value))),
            Type::DateTime => format!("toDateTime({})", value.clamp(0, u32::MAX.into())),
            Type::DateTime64(digits) => {
                format!("toDateTime64({}, {digits}, 'UTC')", literal(&self.kind.text(value)))
            }
            _ => value.to_string(),
        }
    }

    /// What the operator wrote, as SQL has it.
    pub(super) fn written(&self, text: &str) -> String {
        let text = text.trim();
        match self.is.bare() {
            Type::Date => format!("toDate({})", literal(text)),
            Type::Date32 => format!("toDate32({})", literal(text)),
            Type::DateTime => format!("toDateTime({}, 'UTC')", literal(text)),
            Type::DateTime64(digits) => format!("toDateTime64({}, {digits}, 'UTC')", literal(text)),
            _ if text.parse::<i128>().is_ok() => text.to_owned(),
            _ => literal(text),
        }
    }

    /// An expression of its type as a whole number.
    pub(super) fn number(&self, of: &str) -> String {
        match self.is.bare() {
            Type::Date | Type::Date32 => format!("toInt32({of})"),
            Type::DateTime => format!("toUInt32({of})"),
            Type::DateTime64(digits) => match unit_of(*digits) {
                TimeUnit::Second => format!("toInt64({of})"),
                TimeUnit::Millisecond => format!("toUnixTimestamp64Milli({of})"),
                TimeUnit::Microsecond => format!("toUnixTimestamp64Micro({of})"),
                TimeUnit::Nanosecond => format!("toUnixTimestamp64Nano({of})"),
            },
            _ => of.to_owned(),
        }
    }
}

impl Shape {
    pub(super) async fn of_table(
        session: &mut Session,
        options: &ClickHouseOptions,
        id: &TableId,
        columns: &[catalog::Column],
    ) -> Result<Self> {
        let from = format!("{}{}", table_name(id, None)?, if options.of_final { " FINAL" } else { "" });
        let names = |all: bool| -> Result<String> {
            let chosen =
                columns.iter().filter(|column| column.is_ordinary() || (all && column.kind != "EPHEMERAL"));
            Ok(chosen.map(|column| quote(&column.name)).collect::<Result<Vec<_>>>()?.join(", "))
        };
        let everything = matches!(options.columns.as_slice(), [] | [_])
            && options.columns.first().is_none_or(|column| column == "*");
        // Within an expression a name may be that of another one: what conditions are about lies further in.
        let (list, within) = match everything {
            true => (names(false)?, None),
            false => (options.columns.join(", "), Some(names(true)?)),
        };
        let mut shape =
            Self::made(session, options, list, from, within, &id.to_string(), Some((id, columns))).await?;
        for column in columns.iter().filter(|column| everything && !column.is_ordinary()) {
            shape.notes.push(format!(
                "column {:?} of {id} is {} and left out, as SELECT * does; columns= can name it",
                column.name, column.kind
            ));
        }
        Ok(shape)
    }

    pub(super) async fn of_query(
        session: &mut Session,
        options: &ClickHouseOptions,
        query: &str,
    ) -> Result<Self> {
        // On a line of its own the bracket does not fall to a comment.
        let from = format!("({query}\n)");
        let what = format!("`{}`", one_line(query));
        Self::made(session, options, "*".to_owned(), from, None, &what, None).await
    }

    async fn made(
        session: &mut Session,
        options: &ClickHouseOptions,
        list: String,
        from: String,
        within: Option<String>,
        what: &str,
        table: Option<(&TableId, &[catalog::Column])>,
    ) -> Result<Self> {
        let mut shape = Self {
            list,
            from,
            within,
            fields: Arc::new([]),
            schema: Arc::new(Schema::new(Vec::new())?),
            notes: Vec::new(),
        };
        let sql = format!("DESCRIBE TABLE ({}\n)", shape.statement(None, &[])?);
        let cannot = |error: Error| error.context(format!("cannot read {what}"));
        let described = session.rows(&sql).await.map_err(cannot)?;
        let mut fields = Vec::with_capacity(described.len());
        let mut columns = Vec::with_capacity(described.len());
        for row in described {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let (Some(name), Some(text)) = (row.next(), row.next()) else { continue };
            let is = Type::parse(&text).map_err(|error| cannot(error.context(format!("column {name:?}"))))?;
            let mut column = Column::new(name.as_str(), is.data_type(options.is_binary(&name)))
                .with_nullable(is.is_nullable());
            if let Type::Enum(_, values) = is.bare() {
                column = column.with_values(values.iter().map(|(_, name)| Arc::clone(name)));
            }
            if let Some((id, known)) = table
                && let Some(known) = known.iter().find(|known| known.name == name && known.text == text)
            {
                column = column.with_home(id.clone(), known.name.as_str());
                if !known.comment.is_empty() {
                    column = column.with_comment(known.comment.as_str());
                }
                if known.kind == "DEFAULT" {
                    shape.notes.push(format!(
                        "the default of column {name:?} of {what} is not carried over: {}",
                        known.expression
                    ));
                }
            }
            columns.push(column);
            fields.push(Field { name: name.into(), text: text.into(), is });
        }
        let schema = Schema::new(columns)
            .map_err(|error| cannot(error).with_hint("give one of them another name: COLUMN AS name"))?;
        (shape.fields, shape.schema) = (fields.into(), Arc::new(schema));
        Ok(shape)
    }

    /// What comes, and behind it the values of `key`.
    pub(super) fn fields_with(&self, key: &Key) -> Arc<[Field]> {
        let at = Field { name: AT.into(), text: key.text.as_str().into(), is: key.is.clone() };
        self.fields.iter().cloned().chain([at]).collect()
    }

    /// A column that comes out of the selection.
    pub(super) fn key(&self, name: &str) -> Option<Key> {
        let field = self.fields.iter().find(|field| *field.name == *name)?;
        Key::of(&field.name, &field.text)
    }

    /// The rows that fulfil the conditions; those of `order` in its order, with its values behind the others.
    pub(super) fn statement(&self, order: Option<&Key>, conditions: &[String]) -> Result<String> {
        let filter = match conditions {
            [] => String::new(),
            conditions => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let at = quote(AT)?;
        let behind = match order {
            Some(key) => format!(", {} AS {at}", quote(&key.name)?),
            None => String::new(),
        };
        let mut sql = match &self.within {
            None => format!("SELECT {}{behind} FROM {}{filter}", self.list, self.from),
            Some(columns) => {
                let at = if order.is_some() { format!(", {at}") } else { String::new() };
                format!("SELECT {}{at} FROM (SELECT {columns}{behind} FROM {}{filter})", self.list, self.from)
            }
        };
        if order.is_some() {
            sql.push_str(&format!(" ORDER BY {at}"));
        }
        Ok(sql)
    }

    /// A look at all rows that fulfil the conditions: one row of aggregates.
    pub(super) fn look(&self, list: &str, conditions: &[String]) -> String {
        let filter = match conditions {
            [] => String::new(),
            conditions => format!(" WHERE {}", conditions.join(" AND ")),
        };
        format!("SELECT {list} FROM {}{filter}", self.from)
    }
}
