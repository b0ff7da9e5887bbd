//! What is asked for, found in the catalog: tables, their columns, and how each travels.

use std::sync::Arc;

use kwsync_core::system::postgres::catalog::{self, CatalogColumn, CatalogTable};
use kwsync_core::system::postgres::ddl::{quote, table_name};
use kwsync_core::system::postgres::defaults;
use kwsync_core::system::postgres::keys::{self, CatalogKeys};
use kwsync_core::system::postgres::relations::{self, Relation, RelationKind};
use kwsync_core::system::postgres::types::{PgType, oid};
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Column, ColumnDefault, DataType, Error, ErrorKind, Location, Result, Schema, TableId};
use kwsync_formats::pgcopy::{CopyColumn, CopyDecoder};

use super::config::PostgresSourceOptions;
use crate::relational::one_line;

/// A table that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) relation: Relation,
    pub(super) catalog: Arc<CatalogTable>,
    /// Where its rows lie; itself, as a rule.
    pub(super) stored: Vec<Relation>,
    /// Its indexes and foreign keys.
    pub(super) keys: Arc<CatalogKeys>,
    /// Where its changes are followed, the columns by which the server tells its rows apart; none where it does not.
    identity: Option<Vec<String>>,
}

/// The columns of the index that is a table's replica identity, in its order.
const IDENTITY: &str = "
SELECT a.attname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_index x ON x.indrelid = c.oid AND x.indisvalid AND x.indimmediate AND x.indpred IS NULL
  AND CASE c.relreplident WHEN 'i' THEN x.indisreplident WHEN 'n' THEN false ELSE x.indisprimary END
CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, at)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE c.oid = $1::oid AND k.at <= x.indnkeyatts ORDER BY k.at";

/// The table of checkpoints of the sink, which no pattern means.
const CHECKPOINTS: &str = "kwsync_checkpoint";

/// The tables that the options ask for, in the order of the options, those of a pattern by name. `strict` makes an error
/// of a name or pattern that means none.
pub(super) async fn asked(
    connection: &mut Connection,
    options: &PostgresSourceOptions,
    strict: bool,
) -> Result<Vec<Relation>> {
    let default = options.schema.as_deref();
    let mut all = None;
    let mut found: Vec<Relation> = Vec::new();
    for pattern in &options.tables {
        let before = found.len();
        let mut add = |relation: &Relation| {
            let excluded =
                options.exclude.iter().any(|other| other.matches(default, &relation.schema, &relation.name));
            if !excluded && found.iter().all(|known| known.oid != relation.oid) {
                found.push(relation.clone());
            }
        };
        match pattern.exact() {
            Some((schema, name)) => {
                let table = relations::named(connection, schema.or(default), name).await?;
                match table {
                    Some(table) => add(&table),
                    None if strict => return Err(gone(pattern, options)),
                    None => {}
                }
                continue;
            }
            None => {
                if all.is_none() {
                    all = Some(relations::all(connection).await?);
                }
                all.iter().flatten().filter(|relation| is_own_table(relation)).for_each(|relation| {
                    if pattern.matches(default, &relation.schema, &relation.name) {
                        add(relation);
                    }
                });
            }
        }
        if strict && found.len() == before && options.exclude.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("no table is called as {pattern} says"))
                .with_hint("patterns mean tables, not views; case counts; check database and schema"));
        }
    }
    Ok(found)
}

/// Whether a pattern may mean it: no view, no partition of another, nothing of an extension, and not our own.
fn is_own_table(relation: &Relation) -> bool {
    matches!(relation.kind, RelationKind::Plain | RelationKind::Partitioned)
        && !relation.partition
        && !relation.extension
        && relation.name != CHECKPOINTS
}

pub(super) fn gone(name: &dyn std::fmt::Display, options: &PostgresSourceOptions) -> Error {
    let place = match &options.schema {
        Some(schema) => format!(" in schema {schema:?}"),
        None => String::new(),
    };
    Error::new(ErrorKind::NotFound, format!("there is no table {name}{place} to read")).with_hint(
        "check the database, the schema and the case of the name; it may have been dropped or renamed",
    )
}

impl Asked {
    /// Looks a relation up, with its columns and the places of its rows.
    pub(super) async fn look(connection: &mut Connection, relation: Relation) -> Result<Self> {
        let id = TableId::with_schema(relation.schema.as_str(), relation.name.as_str());
        let catalog = look_up(connection, &id).await?;
        let split = relation.parent || relation.kind == RelationKind::Partitioned;
        let stored = match split {
            true => relations::storage(connection, relation.oid).await?,
            false => vec![relation.clone()],
        };
        let keys = keys::keys(connection, &catalog).await?;
        Ok(Self { relation, catalog: Arc::new(catalog), stored, keys: Arc::new(keys), identity: None })
    }

    /// Looks up by what the server tells its rows apart when they change.
    pub(super) async fn with_identity(mut self, connection: &mut Connection) -> Result<Self> {
        let sql =
            match connection.parameter("server_version").is_some_and(|version| version.starts_with("10")) {
                true => IDENTITY.replace("x.indnkeyatts", "x.indnatts"),
                false => IDENTITY.to_owned(),
            };
        let rows = connection.query(&sql, &[Some(&self.relation.oid.to_string())]).await?.rows;
        let columns = (0..rows.len()).filter_map(|row| rows.get(row, 0).map(str::to_owned)).collect();
        self.identity = Some(if self.is_whole() { columns } else { Vec::new() });
        Ok(self)
    }

    /// The columns by which the server tells its rows apart when they change; none where it does not, or nobody asked.
    pub(super) fn identity(&self) -> &[String] {
        self.identity.as_deref().unwrap_or_default()
    }

    /// Whether rows have other values that must be distinct, beside their identity.
    pub(super) fn has_other_unique(&self) -> bool {
        let other = self.catalog.unique.iter().any(|index| index.columns != self.identity());
        // What is not described by columns may be an exclusion, or unique over an expression.
        other || self.keys.indexes.iter().any(|index| index.unique) || !self.keys.left_out.is_empty()
    }

    /// The table.
    pub(super) fn id(&self) -> TableId {
        TableId::with_schema(self.relation.schema.as_str(), self.relation.name.as_str())
    }

    /// What of the table does not go with its rows.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let name = self.relation.to_string_id();
        let mut notes = Vec::new();
        for column in &self.catalog.columns {
            match default_of(column, &column.pg_type.data_type()) {
                Err(expression) if column.generated => notes.push(format!(
                    "column {:?} of {name} is generated: its values are carried over, its expression is not: {expression}",
                    column.name
                )),
                Err(expression) => notes.push(format!(
                    "the default of column {:?} of {name} is not carried over: {expression}",
                    column.name
                )),
                Ok(_) => {}
            }
        }
        notes.extend(self.keys.left_out.iter().map(|what| format!("not carried over from {name}: {what}")));
        notes
    }

    /// Whether its keys hold for all rows, those of its children too.
    fn is_whole(&self) -> bool {
        !self.relation.parent || self.relation.kind == RelationKind::Partitioned
    }

    /// The primary key, where it holds for all rows.
    fn key(&self) -> &[String] {
        if let Some(identity) = &self.identity {
            return identity;
        }
        match self.catalog.unique.first() {
            Some(index) if index.primary && self.is_whole() => &index.columns,
            _ => &[],
        }
    }
}

/// What the server fills into a column, as far as it means something elsewhere; else the expression.
fn default_of<'a>(column: &'a CatalogColumn, data_type: &DataType) -> Result<Option<ColumnDefault>, &'a str> {
    match &column.default {
        Some(expression) if column.generated => Err(expression),
        Some(expression) => defaults::parse(expression, data_type),
        None => Ok(column.identity.then_some(ColumnDefault::Identity)),
    }
}

/// A table's entry in the catalog, with its unique indexes.
pub(super) async fn look_up(connection: &mut Connection, table: &TableId) -> Result<CatalogTable> {
    let found = catalog::table(connection, table, None).await?;
    let mut found = found.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("the table {table} is gone, or has no columns"))
            .with_hint("it was dropped or renamed since the job began; run the job again with --restart")
    })?;
    found.unique = catalog::unique_indexes(connection, &found).await?;
    Ok(found)
}

/// How the rows of a table or query are selected, and what comes of it.
#[derive(Debug)]
pub(super) struct Shape {
    /// What stands between SELECT and FROM.
    pub(super) list: String,
    /// What stands behind FROM.
    pub(super) from: String,
    /// How each column travels.
    pub(super) columns: Vec<CopyColumn>,
    /// Whether each is cast to text for the way.
    pub(super) cast: Vec<bool>,
    /// What each is for whoever takes the rows.
    pub(super) schema: Arc<Schema>,
    /// Types that travel as text: column and type.
    pub(super) notes: Vec<String>,
}

impl Shape {
    /// The shape of the rows in `stored`, which belong to `asked`.
    pub(super) async fn of_table(
        connection: &mut Connection,
        options: &PostgresSourceOptions,
        asked: &Asked,
        stored: &Relation,
    ) -> Result<Self> {
        let id = TableId::with_schema(stored.schema.as_str(), stored.name.as_str());
        let name = table_name(&id, None)?;
        let from = match stored.kind {
            RelationKind::View | RelationKind::Foreign => name,
            _ => format!("ONLY {name}"),
        };
        let list = match options.columns.as_slice() {
            // The stream has no values of columns that the server works out.
            _ if asked.identity.is_some() => {
                columns_of(&asked.catalog, |column| !column.generated || column.identity)?
            }
            [] => all_columns(&asked.catalog)?,
            [star] if star == "*" => all_columns(&asked.catalog)?,
            columns => columns.join(", "),
        };
        let own;
        let catalog = if stored.oid == asked.relation.oid {
            &asked.catalog
        } else {
            own = Arc::new(look_up(connection, &id).await?);
            &own
        };
        let mut shape = Self::described(connection, list, from, &asked.relation.to_string_id()).await?;
        let key = asked.key();
        let own_id = TableId::with_schema(asked.relation.schema.as_str(), asked.relation.name.as_str());
        let enums = catalog::enum_values(connection, &asked.catalog).await?;
        let described = std::mem::take(&mut shape.described);
        let columns = shape.shape.schema.columns().iter().zip(described).map(|(column, (table, number))| {
            let known = (table == catalog.oid).then(|| catalog.columns.iter().find(|c| c.number == number));
            let Some(known) = known.flatten() else { return column.clone() };
            let mut column = column.clone().with_nullable(!known.not_null);
            column = column.with_home(own_id.clone(), known.name.as_str());
            if let Some(known) = asked.catalog.column(&known.name) {
                if let Ok(Some(default)) = default_of(known, column.data_type()) {
                    column = column.with_default(default);
                }
                if let Some(values) = enums.get(&known.pg_type.oid) {
                    column = column.with_values(values.iter().map(String::as_str));
                }
            }
            if let Some(at) = key.iter().position(|name| *name == known.name) {
                column = column.with_key(at as u16 + 1, key.len() as u16);
            }
            match asked.catalog.column(&known.name).and_then(|column| column.comment.as_deref()) {
                Some(comment) => column.with_comment(comment),
                None => column,
            }
        });
        let schema = Schema::new(columns.collect())?;
        shape.shape.schema = Arc::new(match asked.is_whole() {
            true => schema.with_relations(&asked.keys.indexes, &asked.keys.keys)?,
            false => schema,
        });
        Ok(shape.shape)
    }

    /// The shape of a query's rows.
    pub(super) async fn of_query(connection: &mut Connection, query: &str) -> Result<Self> {
        // On a line of its own the bracket does not fall to a comment.
        let from = format!("({query}\n) AS \"kwsync query\"");
        let shape =
            Self::described(connection, "*".to_owned(), from, &format!("`{}`", one_line(query))).await?;
        Ok(shape.shape)
    }

    async fn described(
        connection: &mut Connection,
        list: String,
        from: String,
        what: &str,
    ) -> Result<Described> {
        let cannot = |error: Error| {
            let guarded = error.code() == Some("42501") && error.message().contains("row-level security");
            let error = error.context(format!("cannot read {what}"));
            match guarded {
                true => error.with_hint("row_security=true reads only the rows that its policies show"),
                false => error,
            }
        };
        let fields = connection.describe(&format!("SELECT {list} FROM {from}")).await.map_err(cannot)?;
        if let Some(field) = fields.iter().find(|field| field.name == "?column?") {
            let text = format!("a column of {what} has no name ({})", field.name);
            return Err(Error::config(text).with_hint("give each expression a name: EXPRESSION AS name"));
        }
        let types = relations::types(connection, &fields).await?;
        let mut notes = Vec::new();
        let mut columns = Vec::with_capacity(types.len());
        let mut cast = Vec::with_capacity(types.len());
        let mut made = Vec::with_capacity(types.len());
        for (field, pg_type) in fields.iter().zip(types) {
            let native = CopyDecoder::reads(&pg_type) && pg_type.oid != oid::TID;
            let data_type = match native {
                true => pg_type.data_type(),
                false => {
                    notes.push(format!(
                        "column {:?} of {what} is {}, which is read as its text",
                        field.name, pg_type.name
                    ));
                    DataType::Other(pg_type.name.as_str().into())
                }
            };
            made.push(Column::new(field.name.as_str(), data_type));
            let travels = if native { pg_type } else { PgType::base(oid::TEXT, -1, "text") };
            columns.push(CopyColumn::new(field.name.as_str(), travels));
            cast.push(!native);
        }
        let schema = Schema::new(made).map_err(|error| {
            error
                .context(format!("cannot read {what}"))
                .with_hint("give one of them another name: COLUMN AS name")
        })?;
        let described = fields.iter().map(|field| (field.table_oid, field.column)).collect();
        let shape = Self { list, from, columns, cast, schema: Arc::new(schema), notes };
        Ok(Described { shape, described })
    }

    /// Which of the columns is the key `column` of the table, or of the query, as it is, if it tells where a row is: an
    /// integer or a text, which has one way to be written.
    pub(super) fn place_of(&self, column: &str, query: bool) -> Option<usize> {
        let is_it = |made: &Column| match query {
            true => made.name() == column,
            // By its home: what is called like the key may be an expression, and the key may be called otherwise.
            false => made.home().is_some_and(|(_, home)| home == column),
        };
        let at = self.schema.columns().iter().position(is_it)?;
        let told = matches!(
            self.columns.get(at)?.pg_type.oid,
            oid::INT2 | oid::INT4 | oid::INT8 | oid::TEXT | oid::VARCHAR
        );
        (told && !*self.cast.get(at)?).then_some(at)
    }

    /// A column that comes out of the selection.
    pub(super) fn column(&self, name: &str, what: &dyn std::fmt::Display) -> Result<&CopyColumn> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let there: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            Error::config(format!("split_by={name}: {what} has no such column"))
                .with_hint(format!("it has {}", there.join(", ")))
                .with_location(Location::new().with_column(name))
        })
    }
}

/// A shape, and where each of its columns comes from.
struct Described {
    shape: Shape,
    described: Vec<(u32, i16)>,
}

fn all_columns(catalog: &CatalogTable) -> Result<String> {
    columns_of(catalog, |_| true)
}

fn columns_of(catalog: &CatalogTable, takes: impl Fn(&CatalogColumn) -> bool) -> Result<String> {
    let columns = catalog.columns.iter().filter(|column| takes(column));
    let names: Vec<_> = columns.map(|column| quote(&column.name)).collect::<Result<_>>()?;
    Ok(names.join(", "))
}

/// What a relation is called in messages.
pub(super) trait Named {
    fn to_string_id(&self) -> String;
}

impl Named for Relation {
    fn to_string_id(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}
