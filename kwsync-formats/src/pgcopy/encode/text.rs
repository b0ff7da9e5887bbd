//! Text: checked where it lies, or read as the type it stands for.

use arrow_array::cast::AsArray;
use arrow_array::{Array, LargeStringArray, StringArray, StringViewArray};
use arrow_schema::DataType as Arrow;

use super::super::MAX_VALUE;
use super::super::fault::{Fault, Faults};
use super::super::form::TextForm;
use super::cell::{Cells, Column, Views};
use super::column::Scratch;

/// Strings in any of their plain encodings.
#[derive(Clone, Copy)]
pub(super) enum Strings<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Strings<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            Arrow::Utf8 => Self::Small(array.as_string()),
            Arrow::LargeUtf8 => Self::Large(array.as_string()),
            Arrow::Utf8View => Self::View(array.as_string_view()),
            _ => return None,
        })
    }

    pub(super) fn value(self, row: usize) -> &'a str {
        match self {
            Self::Small(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
        }
    }

    fn array(self) -> &'a dyn Array {
        match self {
            Self::Small(array) => array,
            Self::Large(array) => array,
            Self::View(array) => array,
        }
    }

    /// The values where they are, and no less than the bytes they need.
    fn cells(self) -> (Cells<'a>, usize) {
        match self {
            Self::Small(array) => {
                let offsets = array.value_offsets();
                let bytes = offsets[array.len()] - offsets[0];
                (Cells::Offsets32(offsets, array.value_data()), bytes as usize)
            }
            Self::Large(array) => {
                let offsets = array.value_offsets();
                let bytes = offsets[array.len()] - offsets[0];
                (Cells::Offsets64(offsets, array.value_data()), bytes as usize)
            }
            Self::View(array) => {
                let bytes = array.views().iter().map(|view| u64::from(*view as u32)).sum::<u64>();
                (Cells::View(Views::new(array.views(), array.data_buffers())), bytes as usize)
            }
        }
    }
}

fn check_nul(text: &str) -> Result<(), Fault> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(Fault::new(
            "nul_in_text",
            "the text holds a NUL character, which PostgreSQL's text cannot; make the column bytea",
        ));
    }
    Ok(())
}

/// The faults of text with a NUL in it, after one was seen.
#[cold]
pub(super) fn find_nuls(array: &dyn Array, faults: &mut Faults) {
    let Some(strings) = Strings::of(array) else { return };
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        if let Err(fault) = check_nul(strings.value(row)) {
            faults.add(row, fault);
        }
    }
}

/// Whether it is not too long; a NUL is seen when it is copied.
fn check(text: &str, form: TextForm) -> Result<(), Fault> {
    if text.len() > MAX_VALUE {
        return Err(too_large(text.len()));
    }
    if let Some(limit) = form.characters
        && text.len() > limit as usize
    {
        let counted = if form.blank_padded { text.trim_end_matches(' ') } else { text };
        let characters = counted.chars().count();
        if characters > limit as usize {
            return Err(Fault::new(
                "text_too_long",
                format!("{characters} characters do not go into {limit}; make the column longer, or text"),
            ));
        }
    }
    if let Some(limit) = form.bytes
        && text.len() > limit as usize
    {
        return Err(Fault::new(
            "text_too_long",
            format!("{} bytes do not go into a name of {limit}; make the column text", text.len()),
        ));
    }
    Ok(())
}

#[cold]
pub(super) fn too_large(bytes: usize) -> Fault {
    Fault::new(
        "value_too_large",
        format!("the value has {bytes} bytes, and PostgreSQL takes {MAX_VALUE} at most"),
    )
}

/// Text that travels as it is.
pub(super) fn text<'a>(
    strings: Strings<'a>,
    form: TextForm,
    scratch: &'a mut Scratch,
    faults: &mut Faults,
) -> Column<'a> {
    let array = strings.array();
    let rows = array.len();
    let bounded = form.characters.is_some() || form.bytes.is_some();
    let mut one = |row: usize| {
        if array.is_valid(row)
            && let Err(fault) = check(strings.value(row), form)
        {
            faults.add(row, fault);
        }
    };
    let (cells, bytes) = strings.cells();
    match strings {
        Strings::View(view) if bounded => {
            let limit = form.characters.unwrap_or(u32::MAX).min(form.bytes.unwrap_or(u32::MAX));
            for (row, _) in view.views().iter().enumerate().filter(|(_, view)| **view as u32 > limit) {
                one(row);
            }
        }
        _ if bounded || bytes > MAX_VALUE => (0..rows).for_each(&mut one),
        _ => {}
    }
    if form.versioned {
        return scratch.variable.fill(array, faults, |row, out| {
            check_nul(strings.value(row))?;
            out.push(1);
            out.extend_from_slice(strings.value(row).as_bytes());
            Ok(())
        });
    }
    Column { cells, nulls: array.nulls(), bytes, text: true }
}
