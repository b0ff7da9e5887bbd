//! What decoders of JSON objects share: finding an object, reading it by its shape or taking it apart.

use kwsync_core::{DataType, TimeUnit};

use super::read::{Field, Nested, Object, string};
use super::records::{Follow, Framing, Records};
use super::shape::{Row, Shapes, Use};
use crate::build::{Cell, Kind, Misfit, NONE, Str};
use crate::framing::{Fault, Output, Piece, Read};

pub(super) struct Engine {
    pub(super) framing: Framing,
    pub(super) shapes: Shapes,
    pub(super) object: Object,
    pub(super) uses: Vec<Use>,
    text: Vec<u8>,
}

impl Engine {
    pub(super) fn new(records: Records) -> Self {
        Self {
            framing: Framing::new(records),
            shapes: Shapes::default(),
            object: Object::default(),
            uses: Vec::new(),
            text: Vec::new(),
        }
    }

    pub(super) fn boundary(&self) -> Follow {
        self.framing.boundary()
    }

    /// Checks and commits a row that has been read by its shape.
    #[inline(always)]
    pub(super) fn accept(&mut self, row: Row, piece: Piece<'_>, output: &mut Output) -> Option<Read> {
        let Piece { data, at, .. } = piece;
        // What lies behind the data is none of it.
        if row.end > data.len() || output.check(data, at, row.end).is_err() {
            self.shapes.roll_back(row, &mut output.tables);
            return None;
        }
        if row.stamp != NONE {
            stamp(row.table, row.stamp, output);
        }
        output.commit(row.table, at, row.end - at, 0);
        self.shapes.follow(row.shape);
        Some(Read::Taken(self.framing.after(data, row.end)))
    }

    /// Takes the object apart; what becomes of it if that fails.
    pub(super) fn parse(
        &mut self,
        piece: Piece<'_>,
        nested: Nested,
        output: &mut Output,
    ) -> Result<(), Read> {
        let Piece { data, at, .. } = piece;
        if let Err(stop) = self.object.read(data, at, self.framing.one_line(), nested) {
            return Err(self.framing.stop(piece, output.place(), stop));
        }
        output.check(data, at, self.object.end).map_err(|fault| {
            self.framing.bad(piece, output.place(), Fault::new("invalid_utf8", "not UTF-8", fault))
        })
    }

    /// Puts a value into its column.
    pub(super) fn push(
        &mut self,
        piece: Piece<'_>,
        field: Field,
        kind: Kind,
        column: u32,
        table: u32,
        output: &mut Output,
    ) -> Result<(), Misfit> {
        let Some(rows) = output.tables.get_mut(table) else { return Ok(()) };
        let text = if field.value.escaped {
            self.text.clear();
            string::unescape(field.value.of(piece.data), &mut self.text);
            Str::Made(&self.text)
        } else {
            Str::Here(field.value.start, field.value.end)
        };
        rows.push(column, piece.chunk, Cell::new(kind, text))
    }

    /// Begins a row of the table by hand.
    pub(super) fn begin(&mut self, table: u32, output: &mut Output) {
        self.uses.clear();
        if let Some(rows) = output.tables.get_mut(table) {
            // This row will leave gaps in the columns of whatever shape came before.
            rows.active = NONE;
        }
    }

    /// Takes back what a row has left that could not be read.
    #[cold]
    pub(super) fn abandon(&mut self, table: u32, output: &mut Output) {
        if let Some(rows) = output.tables.get_mut(table) {
            rows.abandon();
        }
    }
}

/// Puts the time of receipt into a column, in its unit.
#[cold]
pub(super) fn stamp(table: u32, column: u32, output: &mut Output) {
    let now = output.now();
    output.counts.missing_timestamps += 1;
    if let Some(rows) = output.tables.get_mut(table) {
        let unit = match rows.known(column).map(|column| column.data_type()) {
            Some(DataType::Timestamp(unit) | DataType::TimestampTz(unit)) => *unit,
            _ => TimeUnit::Nanosecond,
        };
        rows.push_i64(column, now.div_euclid(unit.nanos()));
    }
}

/// The parts of [`RecordFormat`](crate::framing::RecordFormat) that are alike for all that have an engine.
macro_rules! framed {
    ($name:literal) => {
        type Boundary = crate::json::records::Follow;

        fn name(&self) -> &'static str {
            $name
        }

        fn boundary(&self) -> Self::Boundary {
            self.engine.boundary()
        }

        fn restart(&mut self, at: kwsync_core::Position) {
            self.engine.framing.restart(at);
        }

        fn end(&mut self) -> Option<crate::framing::Fault> {
            self.engine.framing.end()
        }

        fn reset(&mut self) {
            self.engine.framing.restart(kwsync_core::Position::START);
        }
    };
}
pub(super) use framed;
