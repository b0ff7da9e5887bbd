//! How the rows of a table or query are selected, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_odbc::odbc_api::{Nullability, ResultSetMetadata};
use kwsync_core::{Column, DataType, Error, Result, Schema, TableId};

use super::config::{FetchBy, OdbcSourceOptions};
use super::convert;
use super::dialect::Dialect;
use super::session::{Found, Known, Session};
use super::types::{Described, Fetch, Rules, Way};
use crate::relational::one_line;
use crate::relational::ranged::Spec;

/// What a table is called in statements, so that `*` can stand beside other columns.
const ALIAS: &str = "kwsync_rows";
/// Most bytes of a row of a block.
const BLOCK_ROW: usize = 64 << 10;

/// A selection.
#[derive(Debug)]
pub(super) struct Shape {
    list: String,
    from: String,
    /// A query that is run as it stands.
    whole: Option<String>,
    dialect: Dialect,
    pub(super) schema: Arc<Schema>,
    /// What becomes of the columns, and behind those of the key's.
    pub(super) ways: Vec<Way>,
    /// The columns by which rows are told apart, if those are of types whose values can stand in a condition.
    pub(super) key: Vec<String>,
    pub(super) by_blocks: bool,
    pub(super) notes: Vec<String>,
}

impl Shape {
    pub(super) fn of_table(
        session: &Session,
        options: &OdbcSourceOptions,
        id: &TableId,
        table: &Found,
        key: Vec<String>,
    ) -> Result<Self> {
        let known = session.columns(table)?;
        let list = match options.columns.as_slice() {
            [] => format!("{ALIAS}.*"),
            [star] if star == "*" => format!("{ALIAS}.*"),
            columns => columns.join(", "),
        };
        let from = format!("{} {ALIAS}", session.dialect.table(id)?);
        Self::made(session, options, list, from, &id.to_string(), key, &known)
    }

    /// `key` names the column by which the query is cut and its rows are told apart, if there is one.
    pub(super) fn of_query(
        session: &Session,
        options: &OdbcSourceOptions,
        query: &str,
        key: Vec<String>,
    ) -> Result<Self> {
        let what = format!("`{}`", one_line(query));
        // On a line of its own the bracket does not fall to a comment.
        let from = format!("({query}\n) {ALIAS}");
        let mut shape = Self::made(session, options, "*".to_owned(), from, &what, key, &BTreeMap::new())?;
        // As it stands it may have an order, which not every server takes within brackets.
        shape.whole = shape.key.is_empty().then(|| query.to_owned());
        Ok(shape)
    }

    fn made(
        session: &Session,
        options: &OdbcSourceOptions,
        list: String,
        from: String,
        what: &str,
        key: Vec<String>,
        known: &BTreeMap<String, Known>,
    ) -> Result<Self> {
        let cannot = |error: Error| error.context(format!("cannot read {what}"));
        let rules = Rules {
            server: session.dialect.server,
            types: options.types,
            timestamp_unit: options.timestamp_unit,
        };
        let plain = options.columns.is_empty() || options.columns == ["*"];
        let described = match &options.query {
            Some(query) => describe_query(session, query).map_err(cannot)?,
            None => {
                let sql = format!("SELECT {list} FROM {from} WHERE 1 = 0");
                describe(session, &sql).map_err(cannot)?
            }
        };
        let mut columns = Vec::with_capacity(described.len());
        let mut ways = Vec::with_capacity(described.len() + key.len());
        let mut notes = Vec::new();
        for mut one in described {
            let own = plain || options.columns.iter().any(|item| is_name(item, &one.name));
            let found = known.get(&one.name).filter(|_| own);
            if let Some(found) = found {
                one.type_name = Some(found.type_name.clone());
                one.nullable &= found.nullable;
            }
            let way = rules.way(&one).map_err(|error| error.context(format!("cannot read {what}")))?;
            if way.as_text {
                let told = one.type_name.as_deref().unwrap_or("of a type of its own");
                notes.push(format!("column {:?} of {what} is {told}, which is read as text", one.name));
            }
            let mut column =
                Column::new(one.name.as_str(), way.data_type.clone()).with_nullable(one.nullable);
            if let Some(found) = found {
                if let Some(at) = key.iter().position(|name| *name == one.name) {
                    column = column.with_nullable(false).with_key(at as u16 + 1, key.len() as u16);
                }
                if let Some(comment) = &found.comment {
                    column = column.with_comment(comment.as_str());
                }
            }
            columns.push(column);
            ways.push(way);
        }
        let mut shape =
            Self {
                list,
                from,
                whole: None,
                dialect: session.dialect.clone(),
                schema: Arc::new(Schema::new(columns).map_err(|error| {
                    cannot(error).with_hint("give one of them another name: COLUMN AS name")
                })?),
                ways,
                key: Vec::new(),
                by_blocks: false,
                notes,
            };
        shape.set_key(session, &rules, key, known).map_err(cannot)?;
        let bytes: Option<usize> = shape.ways.iter().map(|way| way.bound).sum();
        shape.by_blocks = match options.fetch {
            FetchBy::Blocks => true,
            FetchBy::Rows => false,
            FetchBy::Auto => bytes.is_some_and(|bytes| bytes <= BLOCK_ROW),
        };
        Ok(shape)
    }

    /// Takes a key, if the values of its columns can stand in a condition.
    fn set_key(
        &mut self,
        session: &Session,
        rules: &Rules,
        key: Vec<String>,
        known: &BTreeMap<String, Known>,
    ) -> Result<()> {
        if key.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = key.iter().map(|name| session.dialect.quote(name)).collect::<Result<_>>()?;
        let sql = format!("SELECT {} FROM {} WHERE 1 = 0", names.join(", "), self.from);
        let mut ways = Vec::new();
        for mut one in describe(session, &sql)? {
            one.type_name = known.get(&one.name).map(|known| known.type_name.clone());
            let way = rules.way(&one)?;
            let stands = match way.data_type {
                DataType::Char(_) | DataType::VarChar(_) | DataType::Text | DataType::Uuid => true,
                DataType::Numeric(_) | DataType::Int64 | DataType::UInt64 => true,
                _ => way.fetch == Fetch::Int,
            };
            if !stands {
                let told = &way.data_type;
                self.notes.push(format!("rows cannot be told apart by {:?}, which is {told}", one.name));
                return Ok(());
            }
            ways.push(way);
        }
        self.ways.extend(ways);
        self.key = key;
        Ok(())
    }

    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// The statement for a split, from behind the row with the key `after` on.
    pub(super) fn statement(
        &self,
        spec: &Spec,
        condition: Option<&str>,
        after: Option<&[String]>,
    ) -> Result<String> {
        if let Some(whole) = &self.whole {
            return Ok(whole.clone());
        }
        let key: Vec<_> = self.key.iter().map(|name| self.dialect.quote(name)).collect::<Result<_>>()?;
        // `*` of a query has to be the query's, or other columns cannot stand beside it.
        let list = if self.list == "*" { format!("{ALIAS}.*") } else { self.list.clone() };
        let mut list = vec![list];
        list.extend(key.iter().enumerate().map(|(at, name)| format!("{name} AS kwsync_key_{at}")));
        let mut conditions: Vec<String> = condition.iter().map(|sql| format!("({sql}\n)")).collect();
        if let Some(range) = &spec.range {
            let name = self.dialect.quote(&range.column)?;
            let mut parts: Vec<String> = Vec::new();
            parts.extend(range.from.map(|from| format!("{name} >= {from}")));
            parts.extend(range.to.map(|to| format!("{name} < {to}")));
            let within = parts.join(" AND ");
            conditions.push(if range.nulls { format!("({within} OR {name} IS NULL)") } else { within });
        }
        if let Some(after) = after.filter(|after| after.len() == key.len()) {
            // (a, b) > (x, y), in words that every server has.
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
        if !key.is_empty() {
            // By these names: the columns' own may mean what is called so in the list.
            let order: Vec<_> = (0..key.len()).map(|at| format!("kwsync_key_{at}")).collect();
            sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        Ok(sql)
    }

    /// A part of a key, as it was fetched, as SQL has it; none where it is not what its column says.
    pub(super) fn literal(&self, at: usize, text: &str) -> Option<String> {
        let way = self.ways.get(self.schema.columns().len() + at);
        match way.map(|way| &way.data_type) {
            Some(DataType::Char(_) | DataType::VarChar(_) | DataType::Text | DataType::Uuid) => {
                Some(self.dialect.text(text))
            }
            // What came as text may be anything, and would stand in a statement as it is.
            _ => convert::number(text).ok().map(str::to_owned),
        }
    }
}

/// Whether an expression is nothing but a column's name.
fn is_name(expression: &str, name: &str) -> bool {
    let bare = expression.trim().trim_matches(|c| matches!(c, '"' | '`' | '[' | ']'));
    bare == name
}

fn describe(session: &Session, sql: &str) -> Result<Vec<Described>> {
    let cursor = session.connection.execute(sql, (), None).map_err(|error| session.error(error))?;
    match cursor {
        Some(mut cursor) => described(session, &mut cursor),
        None => Err(Error::new(kwsync_core::ErrorKind::Schema, "the statement has no rows")),
    }
}

/// The columns of a query, which is not run for that.
fn describe_query(session: &Session, query: &str) -> Result<Vec<Described>> {
    let mut prepared = session.connection.prepare(query).map_err(|error| session.error(error))?;
    let columns = described(session, &mut prepared)?;
    match columns.is_empty() {
        true => Err(Error::new(kwsync_core::ErrorKind::Schema, "the statement has no rows")
            .with_hint("query= takes a SELECT")),
        false => Ok(columns),
    }
}

fn described(session: &Session, result: &mut impl ResultSetMetadata) -> Result<Vec<Described>> {
    let cannot = |error| session.error(error);
    let count = result.num_result_cols().map_err(cannot)?.max(0) as u16;
    (1..=count)
        .map(|at| {
            Ok(Described {
                name: result.col_name(at).map_err(cannot)?,
                sql: result.col_data_type(at).map_err(cannot)?,
                // Not every driver tells of every type.
                unsigned: result.column_is_unsigned(at).unwrap_or(false),
                nullable: !matches!(result.col_nullability(at), Ok(Nullability::NoNulls)),
                type_name: None,
            })
        })
        .collect()
}
