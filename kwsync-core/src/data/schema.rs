//! Columns and the schemas that they make up.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::index::Relations;
use super::{ColumnDefault, DataType, TableId};
use crate::{Error, ErrorKind, Result};

/// What a column is for in a time-series table. Relational tables have only fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// The time of the row.
    Timestamp,
    /// A measured value, or any column of a relational table.
    #[default]
    Field,
    /// Describes the series.
    Tag,
    /// Identifies the series (KWDB's PRIMARY TAGS).
    PrimaryTag,
}

impl Role {
    /// `timestamp`, `field`, `tag` or `primary_tag`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Field => "field",
            Self::Tag => "tag",
            Self::PrimaryTag => "primary_tag",
        }
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "timestamp" => Ok(Self::Timestamp),
            "field" => Ok(Self::Field),
            "tag" => Ok(Self::Tag),
            "primary_tag" => Ok(Self::PrimaryTag),
            _ => Err(Error::config(format!("{text:?} is no role of a column"))
                .with_hint("use timestamp, field, tag or primary_tag")),
        }
    }
}

/// One column: name, type, role, and whether it may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    name: Arc<str>,
    data_type: DataType,
    role: Role,
    nullable: bool,
    comment: Option<Arc<str>>,
    key: Option<(u16, u16)>,
    default: Option<ColumnDefault>,
    values: Option<Arc<[Arc<str>]>>,
    relations: Option<Arc<Relations>>,
}

impl Column {
    /// A nullable field.
    pub fn new(name: impl Into<Arc<str>>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            data_type,
            role: Role::Field,
            nullable: true,
            comment: None,
            key: None,
            default: None,
            values: None,
            relations: None,
        }
    }

    /// Sets the role.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets whether the column may be null.
    #[must_use]
    pub fn with_nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    /// Sets the comment.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<Arc<str>>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Says that the column is part of its table's primary key: the one at `place`, counted from 1, of `parts`.
    #[must_use]
    pub fn with_key(mut self, place: u16, parts: u16) -> Self {
        self.key = Some((place, parts));
        self
    }

    /// Sets the name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the type. A default and listed values are of the type that it had, and go with that.
    #[must_use]
    pub fn with_data_type(self, data_type: DataType) -> Self {
        if self.data_type == data_type {
            return self;
        }
        Self { data_type, default: None, values: None, ..self }
    }

    /// Sets what the server fills in where a row leaves the column out.
    #[must_use]
    pub fn with_default(mut self, default: ColumnDefault) -> Self {
        self.default = Some(default);
        self
    }

    /// Sets the only values that the column takes, in the order that they have: an enum.
    #[must_use]
    pub fn with_values(mut self, values: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.values = Some(values.into_iter().map(Into::into).collect());
        self
    }

    /// Forgets default and listed values, and its part in indexes and foreign keys, as where the values become others.
    #[must_use]
    pub fn without_definition(mut self) -> Self {
        (self.default, self.values, self.relations) = (None, None, None);
        self
    }

    /// Says where the column stands in the source: its table, and its name there. Foreign keys of other tables find it by that,
    /// whatever table and column are called in the target.
    #[must_use]
    pub fn with_home(self, table: TableId, column: impl Into<Arc<str>>) -> Self {
        let relations = self.relations.as_deref().cloned().unwrap_or_default().at(table, column.into());
        self.with_own_relations(relations)
    }

    /// Forgets its part in indexes and foreign keys, as where rows of several tables come together.
    #[must_use]
    pub fn without_relations(mut self) -> Self {
        self.relations = None;
        self
    }

    pub(super) fn with_own_relations(mut self, relations: Relations) -> Self {
        self.relations = Some(Arc::new(relations));
        self
    }

    /// The name, in its own case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the column may be null.
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// The comment, where there is one.
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// What the server fills in where a row leaves the column out, as far as that is known.
    pub fn default(&self) -> Option<&ColumnDefault> {
        self.default.as_ref()
    }

    /// The only values that the column takes, where there is such a list.
    pub fn values(&self) -> Option<&[Arc<str>]> {
        self.values.as_deref()
    }

    /// The table that the column stands in in the source, and its name there, where that is known.
    pub fn home(&self) -> Option<(&TableId, &str)> {
        self.relations.as_deref().and_then(Relations::home)
    }

    pub(super) fn relations(&self) -> Option<&Relations> {
        self.relations.as_deref()
    }

    /// Which part of its table's primary key it is, counted from 1, and how many parts there are.
    pub fn key(&self) -> Option<(u16, u16)> {
        self.key
    }
}

/// The columns of a table, in order, and the version of the table's schema that they show.
#[derive(Clone)]
pub struct Schema {
    columns: Vec<Column>,
    by_name: HashMap<Arc<str>, usize>,
    arrow: SchemaRef,
    version: u32,
}

impl Schema {
    /// A schema of `columns`, version 0.
    ///
    /// # Errors
    /// `Schema` when two columns have one name; names are compared with their case.
    pub fn new(columns: Vec<Column>) -> Result<Self> {
        let mut by_name = HashMap::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            if by_name.insert(Arc::clone(&column.name), index).is_some() {
                return Err(Error::new(
                    ErrorKind::Schema,
                    format!("two columns are named {:?}", column.name),
                ));
            }
        }
        let fields: Vec<_> = columns.iter().map(Column::to_field).collect();
        Ok(Self { columns, by_name, arrow: Arc::new(arrow_schema::Schema::new(fields)), version: 0 })
    }

    /// A schema without columns.
    pub(crate) fn empty() -> Self {
        let arrow = Arc::new(arrow_schema::Schema::empty());
        Self { columns: Vec::new(), by_name: HashMap::new(), arrow, version: 0 }
    }

    /// Sets the version that batches of this schema carry.
    #[must_use]
    pub fn with_version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// The schema that an Arrow schema describes.
    ///
    /// # Errors
    /// As [`Column::from_field`] and [`Schema::new`].
    pub fn from_arrow(schema: &arrow_schema::Schema) -> Result<Self> {
        Self::new(schema.fields().iter().map(|field| Column::from_field(field)).collect::<Result<_>>()?)
    }

    /// The columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The place of a column, by its name with its case.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// A column by its name with its case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(self.index_of(name)?)
    }

    /// The same columns, without defaults, lists of values, indexes and foreign keys.
    #[must_use]
    pub fn without_definitions(&self) -> Self {
        let columns: Vec<_> = self.columns.iter().map(|column| column.clone().without_definition()).collect();
        let fields: Vec<_> = columns.iter().map(Column::to_field).collect();
        let arrow = Arc::new(arrow_schema::Schema::new(fields));
        Self { columns, arrow, ..self.clone() }
    }

    /// The columns of the primary key that the rows have in their source, in the order of the key. None where the
    /// source knows no key, or where a part of it is not among the columns any more.
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::{Column, DataType, Schema};
    ///
    /// let at = Column::new("at", DataType::Date).with_key(2, 2);
    /// let id = Column::new("id", DataType::Int64).with_key(1, 2);
    /// assert_eq!(Schema::new(vec![at.clone(), id])?.key(), ["id", "at"]);
    /// assert!(Schema::new(vec![at])?.key().is_empty());
    /// # Ok::<(), kwsync_core::Error>(())
    /// ```
    pub fn key(&self) -> Vec<&str> {
        let mut parts: Vec<_> =
            self.columns.iter().filter_map(|column| Some((column.key()?, column.name()))).collect();
        parts.sort_unstable();
        let whole = |(at, part): (usize, &((u16, u16), &str))| {
            usize::from(part.0.0) == at + 1 && usize::from(part.0.1) == parts.len()
        };
        if !parts.iter().enumerate().all(whole) {
            return Vec::new();
        }
        parts.into_iter().map(|(_, name)| name).collect()
    }

    /// The Arrow schema with each column in its usual encoding. A batch may use other encodings.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The version of the table's schema that these columns show; it only grows.
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl PartialEq for Schema {
    /// Columns in order; the version does not count.
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("version", &self.version).field("columns", &self.columns).finish()
    }
}
