//! Text: checked where it lies, or read as the type it stands for.

use arrow_array::cast::AsArray;
use arrow_array::{Array, LargeStringArray, StringArray, StringViewArray};
use arrow_schema::DataType as Arrow;

use super::super::MAX_VALUE;
use super::super::fault::{Fault, Faults};
use super::super::form::TextForm;
use super::cell::{Cells, Column};
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
                (Cells::View(array.views(), array.data_buffers()), bytes as usize)
            }
        }
    }
}

/// Whether the text in a short view has a NUL; the zeros behind the text do not count.
#[inline(always)]
fn short_has_nul(view: u128) -> bool {
    let length = view as u32 & 15;
    // Ones over what is not text.
    let text = (view >> 32) | (!0_u128).checked_shl(8 * length).unwrap_or(0);
    const LOW: u128 = u128::from_ne_bytes([0x01; 16]);
    const HIGH: u128 = u128::from_ne_bytes([0x80; 16]);
    text.wrapping_sub(LOW) & !text & HIGH != 0
}

fn check(text: &str, form: TextForm) -> Result<(), Fault> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(Fault::new(
            "nul_in_text",
            "the text holds a NUL character, which PostgreSQL's text cannot; make the column bytea",
        ));
    }
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
    match strings {
        Strings::View(view) => {
            let shortest_limit = form.characters.unwrap_or(u32::MAX).min(form.bytes.unwrap_or(u32::MAX));
            for (row, view) in view.views().iter().enumerate() {
                let length = *view as u32;
                if length > 12 || length > shortest_limit || short_has_nul(*view) {
                    one(row);
                }
            }
        }
        // All text at once, unless it might be too long.
        Strings::Small(array) if !bounded => {
            let offsets = array.value_offsets();
            let all = &array.value_data()[offsets[0] as usize..offsets[rows] as usize];
            if memchr::memchr(0, all).is_some() || all.len() > MAX_VALUE {
                (0..rows).for_each(&mut one);
            }
        }
        _ => (0..rows).for_each(&mut one),
    }
    if form.versioned {
        return scratch.variable.fill(array, faults, |row, out| {
            out.push(1);
            out.extend_from_slice(strings.value(row).as_bytes());
            Ok(())
        });
    }
    let (cells, bytes) = strings.cells();
    Column { cells, nulls: array.nulls(), bytes }
}
