//! The schemas of a running job: one truth for all lanes, which only ever grows.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::{Column, DataType, Error, ErrorKind, Location, Result, Schema, TableId};

/// Columns up to which room is made for one at a time: most of many tables have a few.
const FEW_COLUMNS: usize = 4;

/// What became of a column that a decoder met.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is new, or was known with this type: go on with it. The number is the table's version.
    Agreed(u32),
    /// It is known with another type, which stands; the record is a reject `type_conflict`.
    Conflict(Column),
}

/// The schemas of all tables of a job, shared by its lanes. They hold what decoders have met, in this run
/// and in those that it resumes, and are monotone: columns are added, types are widened, nothing is ever taken back.
///
/// # Examples
/// ```
/// use kwsync_core::{Claim, Column, DataType, SchemaRegistry, TableId};
///
/// let registry = SchemaRegistry::new();
/// let cpu = TableId::new("cpu");
/// assert_eq!(registry.claim(&cpu, &Column::new("usage", DataType::Float64)), Claim::Agreed(1));
/// // Another lane meets the same column as an integer: the first type stands.
/// assert!(matches!(registry.claim(&cpu, &Column::new("usage", DataType::Int64)), Claim::Conflict(_)));
/// ```
#[derive(Debug, Default)]
pub struct SchemaRegistry {
    tables: RwLock<HashMap<TableId, Known>>,
}

/// The columns of a table as they grow. The schema is made when somebody asks for it, so that a column more costs no
/// more than itself.
#[derive(Debug, Default)]
struct Known {
    columns: Vec<Column>,
    by_name: HashMap<Arc<str>, usize>,
    version: u32,
    schema: OnceLock<Arc<Schema>>,
}

impl Known {
    fn of(schema: Arc<Schema>) -> Self {
        let columns = schema.columns().to_vec();
        let by_name = columns.iter().enumerate().map(|(at, column)| (column.name().into(), at)).collect();
        Self { columns, by_name, version: schema.version(), schema: OnceLock::from(schema) }
    }

    fn schema(&self) -> Arc<Schema> {
        let made = || {
            // Names are distinct: each was looked for before it was added.
            let schema = Schema::new(self.columns.clone()).unwrap_or_else(|_| Schema::empty());
            Arc::new(schema.with_version(self.version))
        };
        Arc::clone(self.schema.get_or_init(made))
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(*self.by_name.get(name)?)
    }

    fn compare(&self, column: &Column) -> Option<Claim> {
        self.column(column.name()).map(|known| {
            if known.data_type() == column.data_type() && known.role() == column.role() {
                Claim::Agreed(self.version)
            } else {
                Claim::Conflict(known.clone())
            }
        })
    }

    /// The columns have changed.
    fn changed(&mut self) -> u32 {
        self.version += 1;
        self.schema = OnceLock::new();
        self.version
    }
}

impl SchemaRegistry {
    /// A registry that knows no table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The schema of a table as it is now.
    pub fn get(&self, table: &TableId) -> Option<Arc<Schema>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(table).map(Known::schema)
    }

    /// All tables and their schemas, by name.
    pub fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = tables.iter().map(|(table, known)| (table.clone(), known.schema())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Adds one column, or finds out that it is there already. The type must be the same: formats whose values
    /// carry their type do not widen.
    pub fn claim(&self, table: &TableId, column: &Column) -> Claim {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(claim) = tables.get(table).and_then(|known| known.compare(column)) {
            return claim;
        }
        drop(tables);
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let known = match tables.get_mut(table) {
            Some(known) => known,
            None => tables.entry(table.clone()).or_default(),
        };
        // Another lane may have been quicker.
        if let Some(claim) = known.compare(column) {
            return claim;
        }
        known.by_name.insert(column.name().into(), known.columns.len());
        if known.columns.len() < FEW_COLUMNS {
            known.columns.reserve_exact(1);
        }
        known.columns.push(column.clone());
        Claim::Agreed(known.changed())
    }

    /// As [`claim`](Self::claim), for formats whose numbers carry no type: a column of integers becomes one of floats
    /// when a float comes. The caller has made sure that its integers are floats exactly (up to 2^53).
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::{Claim, Column, DataType, SchemaRegistry, TableId};
    ///
    /// let (registry, t) = (SchemaRegistry::new(), TableId::new("t"));
    /// registry.infer(&t, &Column::new("load", DataType::Int64));
    /// assert_eq!(registry.infer(&t, &Column::new("load", DataType::Float64)), Claim::Agreed(2));
    /// assert_eq!(registry.get(&t).unwrap().columns()[0].data_type(), &DataType::Float64);
    /// ```
    pub fn infer(&self, table: &TableId, column: &Column) -> Claim {
        let claim = self.claim(table, column);
        let Claim::Conflict(known) = &claim else { return claim };
        let wider = known.data_type() == &DataType::Int64 && column.data_type() == &DataType::Float64;
        if !wider || known.role() != column.role() {
            return claim;
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = tables.get_mut(table) else { return claim };
        let Some(&index) = known.by_name.get(column.name()) else { return claim };
        if let Some(own) = known.columns.get_mut(index) {
            *own = own.clone().with_data_type(DataType::Float64);
        }
        Claim::Agreed(known.changed())
    }

    /// Merges a whole schema: unknown columns are added, known ones widened where that is exact
    /// ([`widen`]). Returns the table's schema.
    ///
    /// # Errors
    /// `Schema` when a column's types have no common exact type; then nothing has changed.
    pub fn merge(&self, table: &TableId, schema: &Schema) -> Result<Arc<Schema>> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let known = tables.get(table).map(Known::schema);
        let merged = merged(table, known.as_ref(), schema)?;
        tables.insert(table.clone(), Known::of(Arc::clone(&merged)));
        Ok(merged)
    }

    /// What [`merge`](Self::merge) would return, without keeping it.
    ///
    /// # Errors
    /// As [`merge`](Self::merge).
    pub fn merged(&self, table: &TableId, schema: &Schema) -> Result<Arc<Schema>> {
        merged(table, self.get(table).as_ref(), schema)
    }
}

fn merged(table: &TableId, known: Option<&Arc<Schema>>, schema: &Schema) -> Result<Arc<Schema>> {
    let Some(known) = known else { return Ok(Arc::new(schema.clone().with_version(1))) };
    let mut columns = known.columns().to_vec();
    let mut changed = false;
    for column in schema.columns() {
        match known.index_of(column.name()) {
            None => {
                columns.push(column.clone().with_nullable(true));
                changed = true;
            }
            Some(index) => {
                let own = &mut columns[index];
                let wide = widen(own.data_type(), column.data_type())
                    .or_else(|| inferred(own.data_type(), column.data_type()));
                let wide = wide.ok_or_else(|| {
                    let text = format!(
                        "column {:?} of table {table} is {}, and {} cannot be stored in it without loss",
                        column.name(),
                        own.data_type(),
                        column.data_type()
                    );
                    Error::new(ErrorKind::Schema, text)
                        .with_code("type_conflict")
                        .with_location(Location::new().with_column(column.name()))
                })?;
                if wide != *own.data_type() {
                    *own = own.clone().with_data_type(wide);
                    changed = true;
                }
            }
        }
    }
    if !changed {
        return Ok(Arc::clone(known));
    }
    Ok(Arc::new(Schema::new(columns)?.with_version(known.version() + 1)))
}

/// Where numbers carry no type, integers that were seen first turn out to be floats. Decoders see to it that those are
/// floats exactly; a target that has made the column one of integers refuses the rows that do not fit.
fn inferred(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Float64, Int64};
    matches!((a, b), (Int64, Float64) | (Float64, Int64)).then_some(Float64)
}

/// The type that holds all values of both exactly: integers widen to integers, f32 to f64, bounded text to
/// longer or unbounded text. Nothing else: a bool is no number, and an integer never goes through a float.
pub fn widen(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    let signed = |data_type: &DataType| match data_type {
        T::Int8 => Some(8),
        T::Int16 => Some(16),
        T::Int32 => Some(32),
        T::Int64 => Some(64),
        _ => None,
    };
    let unsigned = |data_type: &DataType| match data_type {
        T::UInt8 => Some(8),
        T::UInt16 => Some(16),
        T::UInt32 => Some(32),
        T::UInt64 => Some(64),
        _ => None,
    };
    let longer = |a: &Option<u32>, b: &Option<u32>| match (a, b) {
        (Some(a), Some(b)) => Some((*a).max(*b)),
        _ => None,
    };
    if let (Some(left), Some(right)) = (signed(a), signed(b)) {
        return Some(if left > right { a.clone() } else { b.clone() });
    }
    if let (Some(left), Some(right)) = (unsigned(a), unsigned(b)) {
        return Some(if left > right { a.clone() } else { b.clone() });
    }
    match (a, b) {
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => Some(T::Float64),
        (T::VarChar(left), T::VarChar(right)) => Some(T::VarChar(longer(left, right))),
        (T::NVarChar(left), T::NVarChar(right)) => Some(T::NVarChar(longer(left, right))),
        (T::VarBytes(left), T::VarBytes(right)) => Some(T::VarBytes(longer(left, right))),
        (T::Text, T::VarChar(_)) | (T::VarChar(_), T::Text) => Some(T::Text),
        _ => None,
    }
}
