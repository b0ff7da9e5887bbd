//! Rows out of records: by the expected shape, or by the general parser's result.

use kwsync_core::{Column, DataType, RecordRef, Role, TableId};

use super::cast;
use super::fast;
use super::shape::NONE;
use super::table::{Misfit, Table, data_type};
use super::{LineDecoder, MissingTimestamp, Progress};
use crate::build::{Chunk, Data};
use crate::influx::Reason;
use crate::influx::parse::{self, Names, Span, Value};
use crate::influx::typed::unhex;
use crate::utf8::Checked;

impl From<Reason> for Misfit {
    fn from(reason: Reason) -> Self {
        Self { code: reason.code(), reason: reason.message().to_owned() }
    }
}

impl LineDecoder {
    /// Nanoseconds of a timestamp as written.
    #[inline(always)]
    fn time(&mut self, timestamp: Option<i64>) -> Result<Option<i64>, Misfit> {
        match timestamp {
            Some(raw) => match self.options.precision.to_nanoseconds(raw) {
                Some(ns) => Ok(Some(ns)),
                None => Err(Reason::TimestampOverflow.into()),
            },
            None => self.missing_time(),
        }
    }

    fn missing_time(&mut self) -> Result<Option<i64>, Misfit> {
        match self.options.missing_timestamp {
            MissingTimestamp::Receive => {
                let clock = &self.options.clock;
                Ok(Some(*self.now.get_or_insert_with(|| clock())))
            }
            MissingTimestamp::Null => Ok(None),
            MissingTimestamp::Reject => Err(Misfit {
                code: "missing_timestamp",
                reason: "the record has no timestamp; allow it with missing_timestamp=receive or null"
                    .to_owned(),
            }),
        }
    }

    /// Ends a row: its time, its origin, the counts.
    #[inline(always)]
    fn commit(&mut self, table: u32, timestamp: Option<i64>, time: Option<i64>, origin: RecordRef) {
        self.counts.records += 1;
        self.rows += 1;
        self.record_bytes += origin.len as usize;
        if timestamp.is_none() {
            self.counts.missing_timestamps += u64::from(time.is_some());
        }
        if let Some(table) = self.tables.get_mut(table as usize) {
            table.commit(time, origin);
        }
    }

    /// Reads the next line of the first `len` bytes as the shape that came after the last one's before, or as lines that begin alike.
    /// False if no guess fits.
    #[inline(always)]
    pub(super) fn guess(
        &mut self,
        chunk: Chunk<'_>,
        len: usize,
        checked: &mut Checked,
        progress: &mut Progress,
    ) -> bool {
        let next = self.shapes.all.get(self.shapes.last as usize).map_or(NONE, |last| last.next);
        self.guess_one(next, chunk, len, checked, progress)
            || self.guess_by_head(next, chunk, len, checked, progress)
    }

    #[inline(never)]
    fn guess_by_head(
        &mut self,
        tried: u32,
        chunk: Chunk<'_>,
        len: usize,
        checked: &mut Checked,
        progress: &mut Progress,
    ) -> bool {
        let at = progress.at;
        for shape in self.shapes.like(chunk.bytes, at) {
            if shape != tried && self.guess_one(shape, chunk, len, checked, progress) {
                self.shapes.note(shape, chunk.bytes, at);
                return true;
            }
        }
        false
    }

    #[inline]
    fn guess_one(
        &mut self,
        index: u32,
        chunk: Chunk<'_>,
        len: usize,
        checked: &mut Checked,
        progress: &mut Progress,
    ) -> bool {
        let Some(shape) = self.shapes.all.get(index as usize) else { return false };
        let Some(table) = self.tables.get_mut(shape.table as usize) else { return false };
        if table.active != index {
            // Cheap, and most wrong guesses end here.
            if !fast::begins(shape, chunk.bytes, progress.at) {
                return false;
            }
            table.activate(index, shape.ops.iter().map(|op| op.column));
        }
        let start = progress.at;
        let Some(tail) = fast::read(shape, table, chunk, start) else { return false };
        let id = shape.table;
        // After the last byte there may be a line feed that is none of the input's.
        let end = tail.end.min(len);
        let data = chunk.bytes.get(..len).unwrap_or_default();
        // Nor must a record go on in what only lies behind it.
        let own = tail.text_end <= len;
        let valid =
            own && end - start <= self.options.max_line_bytes && checked.check(data, start, end).is_ok();
        let time = if valid { self.time(tail.timestamp).ok() } else { None };
        let Some(time) = time else {
            // The general parser says why.
            if let (Some(table), Some(shape)) =
                (self.tables.get_mut(id as usize), self.shapes.all.get(index as usize))
            {
                table.roll_back(shape.ops.iter().map(|op| op.column));
            }
            return false;
        };
        progress.record += 1;
        let origin = RecordRef {
            segment: self.segments.len() as u32,
            start: start as u32,
            len: (tail.text_end - start) as u32,
            line: progress.line,
            record: progress.record,
        };
        self.commit(id, tail.timestamp, time, origin);
        progress.next_line(end, 1);
        self.shapes.follow(index);
        true
    }

    /// Takes the parsed record into its table, or refuses it.
    pub(super) fn take(&mut self, chunk: Chunk<'_>, progress: &mut Progress) {
        let start = progress.at;
        progress.record += 1;
        let lines = self.record.inner_lines + 1;
        let next = self.record.end;
        if let Err((misfit, table, at)) = self.take_row(chunk, progress) {
            let raw = chunk.bytes.get(start..self.record.text_end).unwrap_or_default();
            let before = chunk.bytes.get(start..at).unwrap_or_default();
            let mut position = progress.position(at);
            position.column = match memchr::memrchr(b'\n', before) {
                Some(n) => {
                    let inner = memchr::memchr_iter(b'\n', before).count() as u64;
                    position.line += if position.line == 0 { 0 } else { inner };
                    (before.len() - n) as u64
                }
                None => progress.column + (at - start) as u64,
            };
            self.reject(position, Some(table), misfit.code, misfit.reason, raw, at - start);
        }
        progress.next_line(next, lines);
    }

    fn take_row(&mut self, chunk: Chunk<'_>, progress: &Progress) -> Result<(), (Misfit, TableId, usize)> {
        let data: &[u8] = chunk.bytes;
        let timestamp = self.record.timestamp;
        let table_id = |decoder: &Self| {
            TableId::new(name(data, &decoder.record.measurement, decoder.options.dialect.measurement()))
        };
        let time = match self.time(timestamp) {
            Ok(time) => time,
            Err(misfit) => {
                let record = &self.record;
                let at = if timestamp.is_some() { record.timestamp_at } else { record.text_end };
                return Err((misfit, table_id(self), at));
            }
        };
        let (shape, table) = match self.shapes.find(data, &self.record) {
            Some(shape) => {
                self.columns.clear();
                self.columns.extend_from_slice(self.shapes.columns(shape));
                (shape, self.shapes.all.get(shape as usize).map_or(0, |shape| shape.table))
            }
            None => {
                let table = self.resolve(data).map_err(|(misfit, at)| (misfit, table_id(self), at))?;
                let cast = |column: &u32| {
                    self.tables.get(table as usize).is_some_and(|table| table.is_cast(*column))
                };
                // A shape says which values go straight into their columns.
                let shape = if self.record.repeated == 0 && !self.columns.iter().any(cast) {
                    self.shapes.insert(table, &self.columns, self.record.tags.len(), &mut self.tables)
                } else {
                    NONE
                };
                (shape, table)
            }
        };
        if let Some(rows) = self.tables.get_mut(table as usize) {
            if shape == NONE || rows.active != shape {
                rows.activate(shape, self.columns.iter().copied());
            }
            let record = &self.record;
            let dialect = self.options.dialect;
            let tags = record.tags.iter().map(|(key, span)| (key, Value::Str(*span), dialect.key()));
            let fields = record.fields.iter().map(|(key, value)| (key, *value, dialect.string()));
            for (index, (&column, (key, value, names))) in
                self.columns.iter().zip(tags.chain(fields)).enumerate()
            {
                if !rows.is_cast(column) {
                    push(rows, column, chunk, value, names, index < record.tags.len());
                    continue;
                }
                let raw = record.value_text(data, index);
                if let Err(misfit) = cast::push(rows, column, chunk, (value, raw), names) {
                    rows.roll_back(self.columns.iter().copied());
                    return Err((misfit, rows.id.clone(), key.end + 1));
                }
            }
        }
        self.counts.duplicate_fields += self.record.repeated as u64;
        let origin = RecordRef {
            segment: self.segments.len() as u32,
            start: progress.at as u32,
            len: (self.record.text_end - progress.at) as u32,
            line: progress.line,
            record: progress.record,
        };
        self.commit(table, timestamp, time, origin);
        if shape != NONE {
            self.shapes.follow(shape);
            self.shapes.note(shape, data, progress.at);
        }
        Ok(())
    }

    /// Finds or makes the table and columns of the record; the columns go into `self.columns`, one a value.
    fn resolve(&mut self, data: &[u8]) -> Result<u32, (Misfit, usize)> {
        let record = &self.record;
        let keys = record
            .tags
            .iter()
            .map(|(key, _)| (*key, Role::Tag, DataType::Text))
            .chain(record.fields.iter().map(|(key, value)| (*key, Role::Field, data_type(value))));
        for (key, ..) in keys.clone() {
            if name(data, &key, self.options.dialect.key()) == self.options.time_column {
                let reason = format!(
                    "a tag or field is named {:?} like the time column; choose another with time_column=",
                    self.options.time_column
                );
                return Err((Misfit { code: "column_clash", reason }, key.start));
            }
        }
        let start = record.measurement.start;
        let known = self.by_name.get(record.measurement.of(data)).copied();
        let nullable = self.options.missing_timestamp == MissingTimestamp::Null;
        let mut fresh = None;
        let table = match known.and_then(|index| self.tables.get_mut(index as usize)) {
            Some(table) => table,
            None => {
                if self.tables.len() >= self.options.max_tables {
                    let reason = format!("more than {} tables (max_tables)", self.options.max_tables);
                    return Err((Misfit { code: "too_many_tables", reason }, start));
                }
                let id = TableId::new(name(data, &record.measurement, self.options.dialect.measurement()));
                let target = self.targets.get(&id).or(self.options.types.as_ref()).cloned();
                fresh.insert(Table::new(id, &self.options.time_column, nullable, self.pool.clone(), target))
            }
        };
        self.columns.clear();
        let mut new = 0;
        for (key, role, data_type) in keys.clone() {
            let found = table.lookup(key.of(data), role, &data_type).map_err(|misfit| (misfit, key.start))?;
            new += usize::from(found.is_none());
            self.columns.push(found.unwrap_or(NONE));
        }
        // A repeated field counts twice here, which no limit of use will notice.
        if new > 0 && table.columns_known() + new > self.options.max_columns {
            let reason = format!(
                "table {} would get more than {} columns (max_columns)",
                table.id, self.options.max_columns
            );
            return Err((Misfit { code: "too_many_columns", reason }, start));
        }
        if fresh.is_some() || new > 0 {
            let table = match &mut fresh {
                Some(table) => {
                    table.claim_time(&self.registry).map_err(|misfit| (misfit, start))?;
                    table
                }
                None => table_mut(&mut self.tables, known).ok_or_else(|| (Reason::BadValue.into(), start))?,
            };
            for (slot, (key, role, data_type)) in self.columns.iter_mut().zip(keys) {
                if *slot == NONE {
                    let place = |misfit| (misfit, key.start);
                    let again = table.lookup(key.of(data), role, &data_type).map_err(place)?;
                    *slot = match again {
                        Some(index) => index,
                        None => {
                            let column = Column::new(name(data, &key, self.options.dialect.key()), data_type)
                                .with_role(role);
                            let encoding = self.options.tag_encoding;
                            table.add(key.of(data), column, encoding, &self.registry).map_err(place)?
                        }
                    };
                }
            }
        }
        if let Some(table) = fresh {
            let index = self.tables.len() as u32;
            self.tables.push(table);
            self.by_name.insert(record.measurement.of(data).into(), index);
            return Ok(index);
        }
        known.ok_or_else(|| (Reason::BadValue.into(), start))
    }
}

fn table_mut(tables: &mut [Table], index: Option<u32>) -> Option<&mut Table> {
    tables.get_mut(index? as usize)
}

fn name(data: &[u8], span: &Span, kind: Names) -> String {
    let raw = span.of(data);
    let mut out = Vec::with_capacity(raw.len());
    parse::unescape(raw, kind, &mut out);
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn push(table: &mut Table, column: u32, chunk: Chunk<'_>, value: Value, kind: Names, tag: bool) {
    let rows = table.rows;
    let Some(column) = table.columns.get_mut(column as usize) else { return };
    if column.len() > rows {
        // The same field again: the last one wins.
        column.truncate(rows);
    }
    match (&mut column.data, value) {
        (Data::I64(values), Value::I64(v)) => values.push(v),
        (Data::U64(values), Value::U64(v)) => values.push(v),
        (Data::F64(values), Value::F64(v)) => values.push(v),
        (Data::Bool(values), Value::Bool(v)) => values.push(v),
        (Data::Text(values), Value::Str(span) | Value::NStr(span) | Value::Geometry(span))
            if span.escaped =>
        {
            values.push_with(|out| parse::unescape(span.of(chunk.bytes), span.kind(kind), out));
        }
        (Data::Text(values), Value::Str(span)) if tag => {
            values.push_copy(chunk.bytes, span.start, span.end);
        }
        (Data::Text(values), Value::Str(span) | Value::NStr(span) | Value::Geometry(span)) => {
            values.push_ref(chunk, span.start, span.end);
        }
        (Data::I8(values), Value::I8(v)) => values.push(v),
        (Data::I16(values), Value::I16(v)) => values.push(v),
        (Data::I32(values), Value::I32(v)) => values.push(v),
        (Data::U8(values), Value::U8(v)) => values.push(v),
        (Data::U16(values), Value::U16(v)) => values.push(v),
        (Data::U32(values), Value::U32(v)) => values.push(v),
        (Data::F32(values), Value::F32(v)) => values.push(v),
        (Data::Bytes(values), Value::Bytes { span, hex: true }) => {
            values.push_with(|out| unhex(span.of(chunk.bytes), out));
        }
        (Data::Bytes(values), Value::Bytes { span, hex: false }) => {
            values.push_with(|out| parse::unescape(span.of(chunk.bytes), kind, out));
        }
        (Data::Dictionary(_), Value::Str(span)) => {
            let raw = span.of(chunk.bytes);
            if span.escaped {
                let mut text = Vec::with_capacity(raw.len());
                parse::unescape(raw, kind, &mut text);
                column.push_text(&text);
            } else {
                column.push_text(raw);
            }
        }
        // Columns were looked up by type.
        _ => {}
    }
}
