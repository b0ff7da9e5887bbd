//! The columns of one table as they fill.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, TimestampNanosecondArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use kwsync_core::{
    Claim, Column as SchemaColumn, DataType, Origin, RecordRef, Result, Role, Schema, SchemaRegistry,
    Segment, TableBatch, TableId, TimeUnit,
};

use super::shape::NONE;
use crate::build::{Column, Data, Dictionary, Pool, TagEncoding};
use crate::influx::parse::Value;

/// Columns up to which room is made for one at a time: there may be as many tables as the limits allow, of a column or two.
const FEW_COLUMNS: usize = 4;

/// Why a well-formed record does not fit its table.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) id: TableId,
    pub(super) rows: usize,
    /// The shape whose columns are all filled up to `rows`
    pub(super) active: u32,
    pub(super) columns: Vec<Column>,
    pub(super) times: Vec<i64>,
    /// Set once a time is missing
    valid_times: Option<BooleanBufferBuilder>,
    pub(super) refs: Vec<RecordRef>,
    /// Name and role of each column, in the order of discovery
    pub(super) known: Vec<SchemaColumn>,
    /// Columns whose type is given: any value is cast to it.
    cast: Vec<bool>,
    target: Option<Arc<Schema>>,
    /// By the key as written; a name has one spelling
    by_key: HashMap<Box<[u8]>, u32>,
    time: SchemaColumn,
    version: u32,
    schema: Option<Arc<Schema>>,
    /// Bytes of the records since the last flush
    pub(super) input_bytes: usize,
    pool: Pool,
    /// Rows of the last batch
    usual: usize,
}

pub(super) fn data_type(value: &Value) -> DataType {
    match value {
        Value::I64(_) => DataType::Int64,
        Value::U64(_) => DataType::UInt64,
        Value::F64(_) => DataType::Float64,
        Value::Bool(_) => DataType::Bool,
        Value::Str(_) => DataType::Text,
        Value::I8(_) => DataType::Int8,
        Value::I16(_) => DataType::Int16,
        Value::I32(_) => DataType::Int32,
        Value::U8(_) => DataType::UInt8,
        Value::U16(_) => DataType::UInt16,
        Value::U32(_) => DataType::UInt32,
        Value::F32(_) => DataType::Float32,
        Value::NStr(_) => DataType::NVarChar(None),
        Value::Bytes { .. } => DataType::Bytes,
        Value::Geometry(_) => DataType::Geometry,
    }
}

impl Table {
    pub(super) fn new(
        id: TableId,
        time_column: &str,
        nullable_time: bool,
        pool: Pool,
        target: Option<Arc<Schema>>,
    ) -> Self {
        let time = SchemaColumn::new(time_column, DataType::TimestampTz(TimeUnit::Nanosecond))
            .with_role(Role::Timestamp)
            .with_nullable(nullable_time);
        Self {
            id,
            rows: 0,
            active: NONE,
            columns: Vec::new(),
            times: Vec::new(),
            valid_times: None,
            refs: Vec::new(),
            known: Vec::new(),
            cast: Vec::new(),
            target,
            by_key: HashMap::new(),
            time,
            version: 0,
            schema: None,
            input_bytes: 0,
            pool,
            usual: 0,
        }
    }

    /// Agrees on the time column with the other lanes.
    pub(super) fn claim_time(&mut self, registry: &SchemaRegistry) -> Result<(), Misfit> {
        match registry.claim(&self.id, &self.time) {
            Claim::Agreed(version) => {
                self.version = self.version.max(version);
                Ok(())
            }
            Claim::Conflict(other) => Err(Misfit {
                code: "type_conflict",
                reason: format!(
                    "column {:?} of table {} is {}, not a time; choose another time column (time_column=)",
                    other.name(),
                    self.id,
                    other.data_type()
                ),
            }),
        }
    }

    /// The column of `key`, if it is known and of this type and role.
    pub(super) fn lookup(&self, key: &[u8], role: Role, data_type: &DataType) -> Result<Option<u32>, Misfit> {
        let Some(&index) = self.by_key.get(key) else { return Ok(None) };
        if self.is_cast(index) {
            return Ok(Some(index));
        }
        match self.known.get(index as usize) {
            Some(column) if column.role() == role && column.data_type() == data_type => Ok(Some(index)),
            Some(column) => Err(self.conflict(column, role, data_type)),
            None => Ok(None),
        }
    }

    /// Whether the column's type is given.
    pub(super) fn is_cast(&self, column: u32) -> bool {
        self.cast.get(column as usize).is_some_and(|cast| *cast)
    }

    fn conflict(&self, column: &SchemaColumn, role: Role, data_type: &DataType) -> Misfit {
        Misfit {
            code: "type_conflict",
            reason: format!(
                "{} {:?} is {data_type}, but table {} has it as a {} of type {}; the first type stands",
                role.as_str(),
                column.name(),
                self.id,
                column.role().as_str(),
                column.data_type()
            ),
        }
    }

    /// Adds a column that [`lookup`](Self::lookup) did not find.
    pub(super) fn add(
        &mut self,
        key: &[u8],
        column: SchemaColumn,
        encoding: TagEncoding,
        registry: &SchemaRegistry,
    ) -> Result<u32, Misfit> {
        let given = self.target.as_ref().and_then(|target| target.column(column.name())).cloned();
        let cast = given.is_some();
        // A tag stays one where only its type is given.
        let role = column.role();
        let column = given.unwrap_or(column);
        let column =
            if role == Role::Tag && column.role() == Role::Field { column.with_role(role) } else { column };
        match registry.claim(&self.id, &column) {
            Claim::Agreed(version) => self.version = self.version.max(version),
            Claim::Conflict(other) => return Err(self.conflict(&other, column.role(), column.data_type())),
        }
        let data = match (column.data_type(), column.role(), encoding) {
            (DataType::Text, Role::Tag, TagEncoding::Dictionary) => Data::Dictionary(Dictionary::default()),
            (data_type, ..) => Data::of(data_type).ok_or_else(|| Misfit {
                code: "unsupported_type",
                reason: format!("column {:?} cannot be {data_type}", column.name()),
            })?,
        };
        let index = self.columns.len() as u32;
        if self.columns.len() < FEW_COLUMNS {
            self.columns.reserve_exact(1);
            self.known.reserve_exact(1);
        }
        self.columns.push(Column::new(data));
        self.known.push(column);
        self.cast.push(cast);
        self.by_key.insert(key.into(), index);
        self.schema = None;
        Ok(index)
    }

    pub(super) fn columns_known(&self) -> usize {
        self.columns.len()
    }

    /// Makes `columns` ready for the next row: nulls for the rows that did not have them.
    pub(super) fn activate(&mut self, shape: u32, columns: impl Iterator<Item = u32>) {
        if self.times.capacity() == 0 {
            self.times = self.pool.i64s.take(self.usual);
        }
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
    pub(super) fn roll_back(&mut self, columns: impl Iterator<Item = u32>) {
        for index in columns {
            if let Some(column) = self.columns.get_mut(index as usize) {
                column.take_back(self.rows);
            }
        }
    }

    /// Ends a row whose values have been pushed.
    #[inline(always)]
    pub(super) fn commit(&mut self, time: Option<i64>, origin: RecordRef) {
        match time {
            Some(time) => self.times.push(time),
            None => self.push_null_time(),
        }
        self.refs.push(origin);
        self.rows += 1;
        self.input_bytes += origin.len as usize;
    }

    #[cold]
    fn push_null_time(&mut self) {
        let valid = self.valid_times.get_or_insert_with(|| BooleanBufferBuilder::new(0));
        valid.append_n(self.times.len() - valid.len(), true);
        valid.append(false);
        self.times.push(0);
    }

    pub(super) fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::bytes).sum();
        columns + self.rows * (size_of::<i64>() + size_of::<RecordRef>())
    }

    /// Time, tags, fields; the latter two in the order in which they were first seen.
    fn order(&self) -> impl Iterator<Item = usize> + '_ {
        let of = |tag: bool| {
            (0..self.known.len())
                .filter(move |&i| matches!(self.known[i].role(), Role::Tag | Role::PrimaryTag) == tag)
        };
        of(true).chain(of(false))
    }

    fn schema(&mut self) -> Result<Arc<Schema>> {
        if let Some(schema) = &self.schema {
            return Ok(Arc::clone(schema));
        }
        let mut columns = Vec::with_capacity(self.known.len() + 1);
        columns.push(self.time.clone());
        columns.extend(self.order().map(|i| self.known[i].clone()));
        let schema = Arc::new(Schema::new(columns)?.with_version(self.version));
        self.schema = Some(Arc::clone(&schema));
        Ok(schema)
    }

    /// The rows as a batch. With `compact` it keeps copies of its records instead of the segments, unless it
    /// makes up much of them itself.
    pub(super) fn finish(&mut self, segments: &Arc<[Segment]>, compact: bool) -> Result<TableBatch> {
        let schema = self.schema()?;
        let rows = std::mem::take(&mut self.rows);
        // The next row finds new room.
        self.active = NONE;
        self.usual = rows;
        let times = std::mem::take(&mut self.times);
        let nulls = self.valid_times.take().map(|mut valid| {
            valid.append_n(rows - valid.len(), true);
            NullBuffer::new(valid.finish())
        });
        let times = TimestampNanosecondArray::new(self.pool.i64s.lend(times), nulls).with_timezone("UTC");
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 1);
        arrays.push(Arc::new(times));
        let order: Vec<usize> = self.order().collect();
        let input_bytes = std::mem::take(&mut self.input_bytes);
        arrays.extend(order.into_iter().map(|i| {
            let data_type = self.known[i].data_type();
            self.columns[i].finish_as(data_type, rows, input_bytes, &self.pool)
        }));
        let room = Vec::with_capacity(rows);
        let refs = std::mem::replace(&mut self.refs, room);
        let origin = Origin::new(Arc::clone(segments), refs);
        let origin = if compact { origin.compact() } else { origin };
        TableBatch::from_columns(self.id.clone(), schema, arrays, origin)
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.rows = 0;
        self.active = NONE;
        self.times.clear();
        self.valid_times = None;
        self.refs.clear();
        self.input_bytes = 0;
        self.columns.iter_mut().for_each(Column::clear);
    }
}
