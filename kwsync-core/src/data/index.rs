//! Indexes and foreign keys of a table. They are kept part by part with its columns, as the primary key is, so that they outlive
//! renaming, Parquet and transforms, and one of which a column was dropped is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Column, Schema, TableId};
use crate::Result;

/// Where the name of an index or a key must be the only one of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameScope {
    /// In its table: other tables may have one that is called so.
    #[default]
    Table,
    /// In all of the schema.
    Schema,
}

/// A column of an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IndexColumn {
    /// The name.
    pub name: Arc<str>,
    /// Whether the greatest value comes first.
    pub descending: bool,
    /// Characters or bytes from the start that the index covers; all where none is said.
    pub prefix: Option<u32>,
}

impl IndexColumn {
    /// The whole column, the least value first.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), descending: false, prefix: None }
    }

    /// Sets whether the greatest value comes first.
    #[must_use]
    pub fn with_descending(mut self, descending: bool) -> Self {
        self.descending = descending;
        self
    }

    /// Sets how many characters or bytes from the start the index covers.
    #[must_use]
    pub fn with_prefix(mut self, prefix: Option<u32>) -> Self {
        self.prefix = prefix;
        self
    }
}

/// An index of a table beside its primary key, over columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Index {
    /// The name.
    pub name: Arc<str>,
    /// Where it is the only one of that name.
    pub scope: NameScope,
    /// Whether no two rows may have the same values.
    pub unique: bool,
    /// The columns in order.
    pub columns: Vec<IndexColumn>,
}

impl Index {
    /// An index over `columns`.
    pub fn new(name: impl Into<Arc<str>>, unique: bool, columns: Vec<IndexColumn>) -> Self {
        Self { name: name.into(), scope: NameScope::Table, unique, columns }
    }

    /// Sets where its name must be the only one.
    #[must_use]
    pub fn with_scope(mut self, scope: NameScope) -> Self {
        self.scope = scope;
        self
    }
}

/// What happens to rows that point to one that is deleted, or whose key is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferentialAction {
    /// It is refused.
    #[default]
    NoAction,
    /// It is refused at once, though a later statement of the transaction might have mended it.
    Restrict,
    /// They are deleted or changed, too.
    Cascade,
    /// They point nowhere then.
    SetNull,
    /// Their columns get their defaults.
    SetDefault,
}

impl ReferentialAction {
    /// The words of SQL.
    pub fn as_sql(self) -> &'static str {
        match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        }
    }
}

/// Columns whose values must be those of a row of another table, or of the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ForeignKey {
    /// The name.
    pub name: Arc<str>,
    /// Where it is the only one of that name.
    pub scope: NameScope,
    /// The columns in order.
    pub columns: Vec<Arc<str>>,
    /// The table that they point to.
    pub table: TableId,
    /// The columns of that table, in the same order.
    pub referenced: Vec<Arc<str>>,
    /// What the deletion of the row pointed to does.
    pub on_delete: ReferentialAction,
    /// What a change of its key does.
    pub on_update: ReferentialAction,
}

impl ForeignKey {
    /// A key by which `columns` point to the columns `referenced` of `table`.
    pub fn new(
        name: impl Into<Arc<str>>,
        columns: Vec<Arc<str>>,
        table: TableId,
        referenced: Vec<Arc<str>>,
    ) -> Self {
        Self {
            name: name.into(),
            scope: NameScope::Table,
            columns,
            table,
            referenced,
            on_delete: ReferentialAction::NoAction,
            on_update: ReferentialAction::NoAction,
        }
    }

    /// Sets where its name must be the only one.
    #[must_use]
    pub fn with_scope(mut self, scope: NameScope) -> Self {
        self.scope = scope;
        self
    }

    /// Sets what deletion and change of the row pointed to do.
    #[must_use]
    pub fn with_actions(mut self, on_delete: ReferentialAction, on_update: ReferentialAction) -> Self {
        (self.on_delete, self.on_update) = (on_delete, on_update);
        self
    }
}

/// What a column knows of the keys around it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Relations {
    /// Table and column in the source, by which keys of other tables point here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home: Option<(TableId, Arc<str>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    indexes: Vec<IndexPart>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<KeyPart>,
}

/// The column as part of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct IndexPart {
    name: Arc<str>,
    scope: NameScope,
    unique: bool,
    place: usize,
    parts: usize,
    descending: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<u32>,
}

/// The column as part of a foreign key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeyPart {
    name: Arc<str>,
    scope: NameScope,
    place: usize,
    parts: usize,
    table: TableId,
    column: Arc<str>,
    on_delete: ReferentialAction,
    on_update: ReferentialAction,
}

impl Relations {
    pub(super) fn home(&self) -> Option<(&TableId, &str)> {
        self.home.as_ref().map(|(table, column)| (table, &**column))
    }

    pub(super) fn at(mut self, table: TableId, column: Arc<str>) -> Self {
        self.home = Some((table, column));
        self
    }
}

impl Schema {
    /// The same columns as those of a table in its source that has these indexes and foreign keys, which name the columns as the
    /// source does: see [`Column::with_home`]. Parts of columns that are not here are left out.
    ///
    /// # Errors
    /// None, as long as this schema has been made without one.
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::{Column, DataType, Index, IndexColumn, Schema, TableId};
    ///
    /// let of = |name: &str| Column::new(name, DataType::Int64).with_home(TableId::new("t"), name);
    /// let (a, b) = (IndexColumn::new("a"), IndexColumn::new("b").with_descending(true));
    /// let indexes = [Index::new("t_b_a", true, vec![b, a])];
    /// let schema = Schema::new(vec![of("a"), of("b")])?.with_relations(&indexes, &[])?;
    /// assert_eq!(schema.indexes(), indexes);
    /// // Without one of its columns it is none.
    /// assert!(Schema::new(vec![schema.columns()[0].clone()])?.indexes().is_empty());
    /// # Ok::<(), kwsync_core::Error>(())
    /// ```
    pub fn with_relations(&self, indexes: &[Index], keys: &[ForeignKey]) -> Result<Self> {
        let mut columns = self.columns().to_vec();
        for column in &mut columns {
            let Some((_, home)) = column.home() else { continue };
            let mut relations = column.relations().cloned().unwrap_or_default();
            for index in indexes {
                let at = index.columns.iter().position(|part| *part.name == *home);
                relations.indexes.extend(at.map(|at| IndexPart {
                    name: Arc::clone(&index.name),
                    scope: index.scope,
                    unique: index.unique,
                    place: at,
                    parts: index.columns.len(),
                    descending: index.columns[at].descending,
                    prefix: index.columns[at].prefix,
                }));
            }
            for key in keys {
                let at = key.columns.iter().position(|name| **name == *home);
                let Some((at, referenced)) = at.and_then(|at| Some((at, key.referenced.get(at)?))) else {
                    continue;
                };
                relations.keys.push(KeyPart {
                    name: Arc::clone(&key.name),
                    scope: key.scope,
                    place: at,
                    parts: key.columns.len(),
                    table: key.table.clone(),
                    column: Arc::clone(referenced),
                    on_delete: key.on_delete,
                    on_update: key.on_update,
                });
            }
            *column = column.clone().with_own_relations(relations);
        }
        Ok(Self::new(columns)?.with_version(self.version()))
    }

    /// The indexes beside the primary key, by name, of which all columns are here.
    pub fn indexes(&self) -> Vec<Index> {
        let mut found: BTreeMap<&str, Vec<(&IndexPart, &str)>> = BTreeMap::new();
        for (column, relations) in self.related() {
            for part in &relations.indexes {
                found.entry(&part.name).or_default().push((part, column.name()));
            }
        }
        let whole = found.into_values().filter_map(|mut parts| {
            parts.sort_by_key(|(part, _)| part.place);
            let first = parts.first()?.0;
            let column = |(part, name): &(&IndexPart, &str)| IndexColumn {
                name: (*name).into(),
                descending: part.descending,
                prefix: part.prefix,
            };
            (parts.len() == first.parts).then(|| Index {
                name: Arc::clone(&first.name),
                scope: first.scope,
                unique: first.unique,
                columns: parts.iter().map(column).collect(),
            })
        });
        whole.collect()
    }

    /// The foreign keys, by name, of which all columns are here. What they point to is named as the source does.
    pub fn foreign_keys(&self) -> Vec<ForeignKey> {
        let mut found: BTreeMap<&str, Vec<(&KeyPart, &str)>> = BTreeMap::new();
        for (column, relations) in self.related() {
            for part in &relations.keys {
                found.entry(&part.name).or_default().push((part, column.name()));
            }
        }
        let whole = found.into_values().filter_map(|mut parts| {
            parts.sort_by_key(|(part, _)| part.place);
            let first = parts.first()?.0;
            (parts.len() == first.parts).then(|| ForeignKey {
                name: Arc::clone(&first.name),
                scope: first.scope,
                columns: parts.iter().map(|(_, name)| (*name).into()).collect(),
                table: first.table.clone(),
                referenced: parts.iter().map(|(part, _)| Arc::clone(&part.column)).collect(),
                on_delete: first.on_delete,
                on_update: first.on_update,
            })
        });
        whole.collect()
    }

    /// The names of indexes and foreign keys that are not whole, since columns of them are not here.
    pub fn broken_relations(&self) -> Vec<String> {
        let whole: Vec<Arc<str>> = self
            .indexes()
            .into_iter()
            .map(|index| index.name)
            .chain(self.foreign_keys().into_iter().map(|key| key.name))
            .collect();
        let named = self.related().flat_map(|(_, relations)| {
            relations
                .indexes
                .iter()
                .map(|part| &part.name)
                .chain(relations.keys.iter().map(|part| &part.name))
        });
        let mut broken: Vec<String> =
            named.filter(|name| !whole.contains(name)).map(|name| name.to_string()).collect();
        broken.sort();
        broken.dedup();
        broken
    }

    fn related(&self) -> impl Iterator<Item = (&Column, &Relations)> {
        self.columns().iter().filter_map(|column| Some((column, column.relations()?)))
    }
}
