//! Lists to arrays.
//!
//! On the wire: dimensions, whether there are nulls, the items' type, of each dimension its length and lower bound,
//! and the items, each with its length word. Items are encoded for a whole block at once; those of one list stand
//! together.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType as Arrow;
use kwsync_core::Result;

use super::super::MAX_VALUE;
use super::super::fault::{Fault, Faults};
use super::super::form::Form;
use super::super::options::CopyOptions;
use super::cell::Column;
use super::column::Scratch;
use super::{flat, text, unexpected};

/// PostgreSQL's most.
const MAX_DIMENSIONS: usize = 6;

/// The lists of one level: where each begins and ends among those of the next.
struct Level {
    offsets: Vec<usize>,
    nulls: Option<NullBuffer>,
}

/// Levels from the outside in, and the items of the innermost.
fn levels(array: &dyn Array) -> Option<(Vec<Level>, ArrayRef)> {
    let mut levels = Vec::new();
    let mut items: Option<ArrayRef> = None;
    loop {
        let array = items.as_deref().unwrap_or(array);
        let (offsets, next): (Vec<usize>, ArrayRef) = match array.data_type() {
            Arrow::List(_) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets().iter().map(|offset| *offset as usize).collect();
                (offsets, Arc::clone(list.values()))
            }
            Arrow::LargeList(_) => {
                let list = array.as_list::<i64>();
                let offsets = list.value_offsets().iter().map(|offset| *offset as usize).collect();
                (offsets, Arc::clone(list.values()))
            }
            _ => break,
        };
        let (first, last) = (*offsets.first()?, *offsets.last()?);
        levels.push(Level {
            offsets: offsets.iter().map(|offset| offset - first).collect(),
            nulls: array.nulls().cloned(),
        });
        items = Some(next.slice(first, last - first));
    }
    Some((levels, items?))
}

#[cold]
fn ragged(reason: &str) -> Fault {
    Fault::new("ragged_array", format!("{reason}, which no array of PostgreSQL has"))
}

/// The lengths of a list's dimensions, and which items are its own.
fn shape(levels: &[Level], row: usize, dimensions: &mut Vec<usize>) -> Result<(usize, usize), Fault> {
    dimensions.clear();
    let (mut from, mut to) = (row, row + 1);
    for (depth, level) in levels.iter().enumerate() {
        let mut length = None;
        for at in from..to {
            if depth > 0 && level.nulls.as_ref().is_some_and(|nulls| nulls.is_null(at)) {
                return Err(ragged("a list of lists has a null for a list"));
            }
            let here = level.offsets[at + 1] - level.offsets[at];
            if *length.get_or_insert(here) != here {
                return Err(ragged("a list of lists has lists of different lengths"));
            }
        }
        let length = length.unwrap_or(0);
        if length == 0 {
            if depth > 0 {
                return Err(ragged("a list of lists has only empty lists"));
            }
            return Ok((0, 0));
        }
        dimensions.push(length);
        (from, to) = (level.offsets[from], level.offsets[to]);
    }
    if dimensions.len() > MAX_DIMENSIONS {
        return Err(ragged("a list has more than six dimensions"));
    }
    Ok((from, to))
}

pub(super) fn lists<'a>(
    array: &'a dyn Array,
    oid: u32,
    item: &Form,
    options: &CopyOptions,
    scratch: &'a mut Scratch,
    faults: &mut Faults,
) -> Result<Column<'a>> {
    let Some((levels, items)) = levels(array) else {
        return Err(unexpected(array.data_type(), item));
    };
    let items = flat(&items)?;
    let (table, inner) = &mut **scratch.items.get_or_insert_default();
    let mut of_items = Faults::default();
    table.fill(items.as_ref(), item, options, inner, &mut of_items)?;
    faults.coerced += of_items.coerced;
    let mut bad = of_items.found.into_iter().peekable();
    let nulls = items.nulls();
    let mut dimensions = Vec::new();
    // What is refused of the lists is noted in their order, as the items are.
    let column = scratch.variable.fill(array, faults, |row, out| {
        let (from, to) = shape(&levels, row, &mut dimensions)?;
        while bad.next_if(|(at, _)| *at < from).is_some() {}
        if let Some((_, fault)) = bad.next_if(|(at, _)| *at < to) {
            return Err(fault);
        }
        let has_null = nulls.is_some_and(|nulls| nulls.slice(from, to - from).null_count() > 0);
        let values = &table.bytes[table.offsets[from]..table.offsets[to]];
        if values.len() + 12 + 8 * dimensions.len() > MAX_VALUE {
            return Err(text::too_large(values.len()));
        }
        out.extend_from_slice(&(dimensions.len() as i32).to_be_bytes());
        out.extend_from_slice(&i32::from(has_null).to_be_bytes());
        out.extend_from_slice(&oid.to_be_bytes());
        for length in &dimensions {
            out.extend_from_slice(&(*length as i32).to_be_bytes());
            out.extend_from_slice(&1_i32.to_be_bytes());
        }
        out.extend_from_slice(values);
        Ok(())
    });
    Ok(column)
}
