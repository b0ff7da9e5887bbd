//! Rows of many tables out of one stream of records.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use kwsync_core::{
    Claim, Column as SchemaColumn, DataType, Origin, RecordRef, Result, Role, Schema, SchemaRegistry,
    Segment, TableBatch, TableId, TimeUnit,
};

use super::cast::{self, Cell, Kind};
use super::{Chunk, Column, Data, Pool};

/// No table, column or shape.
pub(crate) const NONE: u32 = u32::MAX;
/// Up to here every integer is a float.
pub(crate) const EXACT: u64 = 1 << 53;

/// Why a well-formed record does not fit its table.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

impl Misfit {
    pub(crate) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// How values find their way into a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The first value chose the type; an integer column becomes a float column where that is exact.
    Infer,
    /// The type is given: values are cast to it where that is exact. Integers count `unit` in a time. With `text`,
    /// numbers may stand as text.
    Cast { unit: TimeUnit, text: bool },
    /// The column is a time in milliseconds, and integers are seconds or milliseconds, told apart by their size.
    Clock,
    /// As `Cast`, but times are text.
    Written,
}

#[derive(Debug)]
struct Known {
    column: SchemaColumn,
    rule: Rule,
    /// Every integer of earlier batches is a float, too.
    exact: bool,
}

/// The columns of one table as they fill.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: TableId,
    pub(crate) rows: usize,
    /// The shape whose columns are all filled up to `rows`
    pub(crate) active: u32,
    pub(crate) columns: Vec<Column>,
    known: Vec<Known>,
    by_name: HashMap<Box<[u8]>, u32>,
    refs: Vec<RecordRef>,
    /// Columns of the row in hand that were not filled by its shape
    touched: Vec<u32>,
    /// Columns that every row must have
    required: Vec<u32>,
    /// The columns are given, and there can be no others.
    closed: bool,
    /// The columns stand in the order in which they were declared.
    declared: bool,
    version: u32,
    schema: Option<Arc<Schema>>,
    input_bytes: usize,
    pool: Pool,
    registry: Arc<SchemaRegistry>,
}

impl Table {
    fn new(id: TableId, pool: Pool, registry: Arc<SchemaRegistry>) -> Self {
        Self {
            id,
            rows: 0,
            active: NONE,
            columns: Vec::new(),
            known: Vec::new(),
            by_name: HashMap::new(),
            refs: Vec::new(),
            touched: Vec::new(),
            required: Vec::new(),
            closed: false,
            declared: false,
            version: 0,
            schema: None,
            input_bytes: 0,
            pool,
            registry,
        }
    }

    /// The column of this name.
    pub(crate) fn column(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// What is known of a column.
    pub(crate) fn known(&self, column: u32) -> Option<&SchemaColumn> {
        self.known.get(column as usize).map(|known| &known.column)
    }

    /// How values find their way into a column.
    pub(crate) fn rule(&self, column: u32) -> Rule {
        self.known.get(column as usize).map_or(Rule::Infer, |known| known.rule)
    }

    pub(crate) fn columns_known(&self) -> usize {
        self.columns.len()
    }

    /// Whether there can be no further columns.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Makes `columns` ready for the next row: nulls for the rows that did not have them.
    pub(crate) fn activate(&mut self, shape: u32, columns: impl Iterator<Item = u32>) {
        for index in columns {
            if let Some(column) = self.columns.get_mut(index as usize) {
                column.prepare(&self.pool);
                column.pad(self.rows);
            }
        }
        self.active = shape;
    }

    /// Takes back what a row that failed has left.
    #[cold]
    pub(crate) fn roll_back(&mut self, columns: impl Iterator<Item = u32>) {
        for index in columns {
            if let Some(column) = self.columns.get_mut(index as usize)
                && column.len() > self.rows
            {
                column.take_back(self.rows);
            }
        }
    }

    /// Takes back what a row that failed has left in any column, however it came there.
    #[cold]
    pub(crate) fn roll_back_all(&mut self) {
        self.touched.clear();
        self.roll_back(0..self.columns.len() as u32);
    }

    /// Takes back what was pushed one by one for a row that failed.
    #[cold]
    pub(crate) fn abandon(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        self.roll_back(touched.iter().copied());
        self.touched = touched;
        self.touched.clear();
    }

    /// Whether the next row already has a value in this column.
    pub(crate) fn has(&self, column: u32) -> bool {
        self.columns.get(column as usize).is_some_and(|column| column.len() > self.rows)
    }

    /// A column that may not be null and that the row in hand does not have.
    #[inline(always)]
    pub(crate) fn missing(&self) -> Option<&SchemaColumn> {
        let lacks = |column: &&u32| !self.has(**column);
        self.required.iter().find(lacks).and_then(|column| self.known(*column))
    }

    /// Whether a float would make it another column.
    pub(crate) fn would_widen(&self, column: u32) -> bool {
        self.rule(column) == Rule::Infer
            && self.columns.get(column as usize).is_some_and(|column| matches!(column.data, Data::I64(_)))
    }

    /// Whether all its integers are floats exactly.
    pub(crate) fn can_widen(&self, column: u32) -> bool {
        let (Some(known), Some(column)) =
            (self.known.get(column as usize), self.columns.get(column as usize))
        else {
            return false;
        };
        match &column.data {
            Data::I64(values) => known.exact && values.iter().all(|value| value.unsigned_abs() <= EXACT),
            _ => false,
        }
    }

    /// Puts a null into the row in hand.
    #[inline]
    pub(crate) fn push_null(&mut self, column: u32) -> std::result::Result<(), Misfit> {
        if self.required.contains(&column) {
            return Err(self.null_misfit(column));
        }
        self.touched.push(column);
        if let Some(column) = self.columns.get_mut(column as usize) {
            match column.len().cmp(&self.rows) {
                Ordering::Less => column.pad(self.rows),
                Ordering::Greater => column.take_back(self.rows),
                Ordering::Equal => {}
            }
            column.push_null();
        }
        Ok(())
    }

    pub(crate) fn null_misfit(&self, column: u32) -> Misfit {
        let name = self.known(column).map_or("", |column| column.name());
        let reason = format!("column {name:?} of table {} is null, which it may not be", self.id);
        Misfit::new("not_null", reason)
    }

    /// The values and the type of a column that has none yet for the row in hand and that is filled up to it.
    #[inline(always)]
    pub(crate) fn fast(&mut self, index: u32) -> Option<(&mut Data, &DataType)> {
        let (column, known) = (self.columns.get_mut(index as usize)?, self.known.get(index as usize)?);
        (column.len() == self.rows).then_some((&mut column.data, known.column.data_type()))
    }

    /// Puts a value into the row in hand. One that is there already is replaced.
    pub(crate) fn push(
        &mut self,
        index: u32,
        chunk: Chunk<'_>,
        cell: Cell<'_>,
    ) -> std::result::Result<(), Misfit> {
        if cell.kind == Kind::Null {
            return self.push_null(index);
        }
        let rows = self.rows;
        let (Some(column), Some(known)) =
            (self.columns.get_mut(index as usize), self.known.get_mut(index as usize))
        else {
            return Ok(());
        };
        if column.is_fresh() {
            column.prepare(&self.pool);
        }
        self.touched.push(index);
        column.pad(rows);
        if column.len() > rows {
            column.take_back(rows);
        }
        let done = match known.rule {
            Rule::Infer => {
                if let (Kind::Float(_), Data::I64(values)) = (cell.kind, &mut column.data)
                    && known.exact
                    && values.iter().all(|value| value.unsigned_abs() <= EXACT)
                {
                    let wide = known.column.clone().with_data_type(DataType::Float64);
                    if let Claim::Agreed(version) = self.registry.infer(&self.id, &wide) {
                        column.data = Data::F64(values.iter().map(|value| *value as f64).collect());
                        known.column = wide;
                        self.schema = None;
                        self.version = self.version.max(version);
                        self.active = NONE;
                    }
                }
                cast::infer(column, known.column.data_type(), chunk, cell)
            }
            Rule::Clock => cast::clock(column, chunk, cell),
            Rule::Written => cast::written(column, known.column.data_type(), chunk, cell),
            Rule::Cast { unit, text } => {
                cast::cast(column, known.column.data_type(), unit, text, chunk, cell)
            }
        };
        done.map_err(|fault| {
            let text = fault.reason;
            let (name, data_type) = (known.column.name(), known.column.data_type());
            let reason = format!("column {name:?} of table {} is {data_type}: {text}", self.id);
            Misfit::new(fault.code, reason)
        })
    }

    /// Puts an integer into a column of integers or times, as it is.
    pub(crate) fn push_i64(&mut self, column: u32, value: i64) {
        let rows = self.rows;
        self.touched.push(column);
        if let Some(column) = self.columns.get_mut(column as usize) {
            column.pad(rows);
            if let Data::I64(values) = &mut column.data
                && values.len() == rows
            {
                values.push(value);
            }
        }
    }

    /// Ends a row whose values have been pushed.
    #[inline(always)]
    pub(crate) fn commit(&mut self, origin: RecordRef) {
        self.refs.push(origin);
        self.touched.clear();
        self.rows += 1;
        self.input_bytes += origin.len as usize;
    }

    /// Takes back the last row, which is `len` bytes of input.
    #[cold]
    pub(crate) fn retract(&mut self, len: usize) {
        self.rows = self.rows.saturating_sub(1);
        self.refs.truncate(self.rows);
        self.input_bytes = self.input_bytes.saturating_sub(len);
        self.active = NONE;
        self.roll_back(0..self.columns.len() as u32);
    }

    fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::bytes).sum();
        columns + self.rows * size_of::<RecordRef>()
    }

    /// Time, tags, others, each in the order in which they were first seen; or as they were declared.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.known.len()).collect();
        if !self.declared {
            order.sort_by_key(|i| match self.known[*i].column.role() {
                Role::Timestamp => 0,
                Role::PrimaryTag | Role::Tag => 1,
                Role::Field => 2,
            });
        }
        order
    }

    fn schema(&mut self, order: &[usize]) -> Result<Arc<Schema>> {
        if let Some(schema) = &self.schema {
            return Ok(Arc::clone(schema));
        }
        let columns = order.iter().map(|i| self.known[*i].column.clone()).collect();
        let schema = Arc::new(Schema::new(columns)?.with_version(self.version));
        self.schema = Some(Arc::clone(&schema));
        Ok(schema)
    }

    fn finish(&mut self, segments: &Arc<[Segment]>, compact: bool) -> Result<TableBatch> {
        let order = self.order();
        let schema = self.schema(&order)?;
        let rows = std::mem::take(&mut self.rows);
        // The next row finds new room.
        self.active = NONE;
        let input_bytes = std::mem::take(&mut self.input_bytes);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(order.len());
        for i in order {
            let (column, known) = (&mut self.columns[i], &mut self.known[i]);
            if let (true, Rule::Infer, Data::I64(values)) = (known.exact, known.rule, &column.data) {
                known.exact = values.iter().all(|value| value.unsigned_abs() <= EXACT);
            }
            arrays.push(column.finish_as(known.column.data_type(), rows, input_bytes, &self.pool));
        }
        let room = Vec::with_capacity(rows);
        let refs = std::mem::replace(&mut self.refs, room);
        let origin = Origin::new(Arc::clone(segments), refs);
        let origin = if compact { origin.compact() } else { origin };
        TableBatch::from_columns(self.id.clone(), schema, arrays, origin)
    }

    fn clear(&mut self) {
        self.rows = 0;
        self.active = NONE;
        self.refs.clear();
        self.input_bytes = 0;
        self.columns.iter_mut().for_each(Column::clear);
    }
}

/// A schema that is given: values are cast to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) schema: Arc<Schema>,
    /// Other columns are refused.
    pub(crate) closed: bool,
    /// Integers in times count this.
    pub(crate) unit: TimeUnit,
    /// Numbers may stand as text.
    pub(crate) text: bool,
}

/// All tables of a stream.
#[derive(Debug)]
pub(crate) struct Tables {
    registry: Arc<SchemaRegistry>,
    all: Vec<Table>,
    by_name: HashMap<TableId, u32>,
    targets: HashMap<TableId, Target>,
    pool: Pool,
    max_columns: usize,
    max_tables: usize,
}

impl Tables {
    pub(crate) fn new(registry: Arc<SchemaRegistry>) -> Self {
        Self {
            registry,
            all: Vec::new(),
            by_name: HashMap::new(),
            targets: HashMap::new(),
            pool: Pool::default(),
            max_columns: usize::MAX,
            max_tables: usize::MAX,
        }
    }

    #[must_use]
    pub(crate) fn with_limits(mut self, max_columns: usize, max_tables: usize) -> Self {
        (self.max_columns, self.max_tables) = (max_columns, max_tables);
        self
    }

    /// Shares the schemas of a job. Before the first row.
    pub(crate) fn set_registry(&mut self, registry: Arc<SchemaRegistry>) {
        self.registry = registry;
    }

    /// Gives a table its schema. Before its first row.
    pub(crate) fn set_target(&mut self, table: TableId, target: Target) {
        self.targets.insert(table, target);
    }

    #[inline(always)]
    pub(crate) fn get(&self, table: u32) -> Option<&Table> {
        self.all.get(table as usize)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, table: u32) -> Option<&mut Table> {
        self.all.get_mut(table as usize)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.all.iter_mut()
    }

    pub(crate) fn find(&self, id: &TableId) -> Option<u32> {
        self.by_name.get(id).copied()
    }

    /// Finds or makes a table.
    pub(crate) fn open(&mut self, id: &TableId) -> std::result::Result<u32, Misfit> {
        if let Some(known) = self.find(id) {
            return Ok(known);
        }
        if self.all.len() >= self.max_tables {
            let reason = format!("more than {} tables (max_tables)", self.max_tables);
            return Err(Misfit::new("too_many_tables", reason));
        }
        let index = self.all.len() as u32;
        self.all.push(Table::new(id.clone(), self.pool.clone(), Arc::clone(&self.registry)));
        if let Some(target) = self.targets.get(id).cloned()
            && let Err(misfit) = self.declare(index, &target)
        {
            self.all.pop();
            return Err(misfit);
        }
        self.by_name.insert(id.clone(), index);
        Ok(index)
    }

    /// Gives an open table the columns of a schema. Those that it has must be the same.
    pub(crate) fn declare(&mut self, table: u32, target: &Target) -> std::result::Result<(), Misfit> {
        let rule = Rule::Cast { unit: target.unit, text: target.text };
        for column in target.schema.columns() {
            self.add(table, column.clone(), rule)?;
        }
        if let Some(table) = self.get_mut(table) {
            table.closed = target.closed;
            table.declared = target.closed;
        }
        Ok(())
    }

    /// Forgets a table that was opened just now, because its columns cannot be made.
    pub(crate) fn discard(&mut self, table: u32) {
        if table as usize + 1 == self.all.len()
            && let Some(table) = self.all.pop()
        {
            self.by_name.remove(&table.id);
        }
    }

    /// Whether `more` columns are too many for the table.
    pub(crate) fn check_room(&self, table: u32, more: usize) -> std::result::Result<(), Misfit> {
        let Some(table) = self.get(table) else { return Ok(()) };
        if table.columns.len() + more <= self.max_columns {
            return Ok(());
        }
        let reason =
            format!("table {} would get more than {} columns (max_columns)", table.id, self.max_columns);
        Err(Misfit::new("too_many_columns", reason))
    }

    /// The column of a table, made if it is not there. A known one must agree; with [`Rule::Infer`] an integer may
    /// come into a float column.
    pub(crate) fn add(
        &mut self,
        table: u32,
        column: SchemaColumn,
        rule: Rule,
    ) -> std::result::Result<u32, Misfit> {
        let infer = rule == Rule::Infer;
        let known = self.get(table).and_then(|table| table.column(column.name().as_bytes()));
        if let Some(known) = known {
            let Some(own) = self.get(table).and_then(|table| table.known(known)) else { return Ok(known) };
            let same = own.data_type() == column.data_type() && own.role() == column.role();
            if same || (infer && own.role() == column.role()) {
                return Ok(known);
            }
            let own = own.clone();
            return Err(self.conflict(table, &column, &own));
        }
        self.check_room(table, 1)?;
        let Some(own) = self.all.get_mut(table as usize) else { return Ok(NONE) };
        let mut column = column;
        let claim = match rule {
            Rule::Infer => self.registry.infer(&own.id, &column),
            Rule::Cast { .. } | Rule::Clock | Rule::Written => self.registry.claim(&own.id, &column),
        };
        match claim {
            Claim::Agreed(version) => own.version = own.version.max(version),
            Claim::Conflict(other) => {
                // What another lane, or the target, has made of it.
                let wider = other.data_type() == &DataType::Float64 && column.data_type() == &DataType::Int64;
                if !(infer && wider && other.role() == column.role()) {
                    return Err(self.conflict(table, &column, &other));
                }
                column = other;
            }
        }
        let Some(data) = Data::of(column.data_type()) else {
            let reason = format!("column {:?} cannot be {}", column.name(), column.data_type());
            return Err(Misfit::new("unsupported_type", reason));
        };
        let index = own.columns.len() as u32;
        own.columns.push(Column::new(data));
        own.by_name.insert(column.name().as_bytes().into(), index);
        if !column.is_nullable() {
            own.required.push(index);
        }
        own.known.push(Known { column, rule, exact: true });
        own.schema = None;
        Ok(index)
    }

    fn conflict(&self, table: u32, column: &SchemaColumn, known: &SchemaColumn) -> Misfit {
        let table = self.get(table).map_or(String::new(), |table| table.id.to_string());
        let reason = format!(
            "{} {:?} is {}, but table {table} has it as a {} of type {}; the first type stands",
            column.role().as_str(),
            column.name(),
            column.data_type(),
            known.role().as_str(),
            known.data_type()
        );
        Misfit::new("type_conflict", reason)
    }

    /// Bytes held for rows.
    pub(crate) fn bytes(&self) -> usize {
        self.all.iter().map(Table::bytes).sum()
    }

    /// The rows of all tables as batches. Where `held`, the bytes of the segments, is much more than what their
    /// records make up, copies of the records are kept instead.
    pub(crate) fn flush(&mut self, segments: &Arc<[Segment]>, held: usize) -> Result<Vec<TableBatch>> {
        let used: usize = self.all.iter().map(|table| table.input_bytes).sum();
        let compact = held > used.saturating_mul(4);
        let full = self.all.iter_mut().filter(|table| table.rows > 0);
        full.map(|table| table.finish(segments, compact)).collect()
    }

    /// Forgets all rows.
    pub(crate) fn clear(&mut self) {
        self.all.iter_mut().for_each(Table::clear);
    }
}
