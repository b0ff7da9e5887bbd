//! Values that must not be read by everybody: masked or hashed.

use std::fmt;
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_cast::CastOptions;
use arrow_schema::DataType as Arrow;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::cast::cast;
use super::columns::{pairs, rebuild};
use super::lacking::Lacking;
use super::{Transform, Transformed};
use crate::config::Secret;
use crate::{DataType, Error, ErrorKind, Location, Result, TableBatch};

/// What a masked value shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mask {
    /// This text, whatever the value.
    Text(String),
    /// Asterisks, and the first characters.
    First(usize),
    /// Asterisks, and the last characters.
    Last(usize),
}

impl Mask {
    /// What is shown of `value`.
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::Mask;
    ///
    /// assert_eq!(Mask::Last(4).of("4111111111111111"), "************1111");
    /// assert_eq!(Mask::Last(4).of("123"), "***", "what is as short as the rest that is shown is hidden wholly");
    /// assert_eq!(Mask::Text("-".into()).of("secret"), "-");
    /// ```
    pub fn of(&self, value: &str) -> String {
        let count = value.chars().count();
        let stars = |n: usize| "*".repeat(n);
        match self {
            Self::Text(text) => text.clone(),
            Self::First(shown) if *shown < count => {
                value.chars().take(*shown).collect::<String>() + &stars(count - shown)
            }
            Self::Last(shown) if *shown < count => {
                stars(count - shown) + &value.chars().skip(count - shown).collect::<String>()
            }
            _ => stars(count),
        }
    }
}

/// Masks a column, in the tables that have it; it becomes text. Null stays null.
#[derive(Debug)]
pub struct MaskColumn {
    column: String,
    mask: Mask,
    lacking: Lacking,
}

impl MaskColumn {
    /// Shows `mask` of the values of `column`.
    pub fn new(column: impl Into<String>, mask: Mask) -> Self {
        Self { column: column.into(), mask, lacking: Lacking::default() }
    }
}

impl Transform for MaskColumn {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        self.lacking.warn(&"mask", std::iter::once(self.column.as_str()), &batch);
        replaced(batch, &self.column, |value| self.mask.of(value))
    }
}

/// Puts the SHA-256 of each value in its place, as 64 hexadecimal digits, in the tables that have the column: of the
/// value's text, or of its bytes. Equal values stay equal. With a key it is HMAC-SHA-256, which nobody without the key
/// can find out by hashing all values that may be: names, telephone numbers. Null stays null.
pub struct HashColumn {
    column: String,
    key: Option<Secret>,
    lacking: Lacking,
}

impl fmt::Debug for HashColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashColumn").field("column", &self.column).finish_non_exhaustive()
    }
}

impl HashColumn {
    /// Hashes the values of `column`.
    pub fn new(column: impl Into<String>, key: Option<Secret>) -> Self {
        Self { column: column.into(), key, lacking: Lacking::default() }
    }

    fn hash(&self, value: &[u8]) -> String {
        let digest: Vec<u8> = match &self.key {
            // A key of any length will do.
            Some(key) => match Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) {
                Ok(mut mac) => {
                    mac.update(value);
                    mac.finalize().into_bytes().to_vec()
                }
                Err(_) => Vec::new(),
            },
            None => Sha256::digest(value).to_vec(),
        };
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Transform for HashColumn {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        self.lacking.warn(&"hash", std::iter::once(self.column.as_str()), &batch);
        let binary = batch.schema().index_of(&self.column).is_some_and(|index| {
            let array = batch.batch().column(index);
            matches!(array.data_type(), Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView)
        });
        if !binary {
            return replaced(batch, &self.column, |value| self.hash(value.as_bytes()));
        }
        changed(batch, &self.column, &Arrow::BinaryView, |array, texts| {
            for value in array.as_binary_view() {
                texts.append_option(value.map(|value| self.hash(value)));
            }
        })
    }
}

fn replaced(batch: TableBatch, column: &str, change: impl Fn(&str) -> String) -> Result<Transformed> {
    changed(batch, column, &Arrow::Utf8View, |array, texts| {
        for value in array.as_string_view() {
            texts.append_option(value.map(&change));
        }
    })
}

fn changed(
    batch: TableBatch,
    name: &str,
    read_as: &Arrow,
    change: impl Fn(&dyn Array, &mut StringViewBuilder),
) -> Result<Transformed> {
    let Some(index) = batch.schema().index_of(name) else { return Ok(batch.into()) };
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let texts = cast(batch.batch().column(index), read_as, &options).map_err(|error| {
        Error::new(ErrorKind::Schema, format!("column {name:?} cannot be read as text: {error}"))
            .with_location(Location::new().with_table(batch.table().name()).with_column(name))
    })?;
    let mut new = StringViewBuilder::with_capacity(batch.rows());
    change(texts.as_ref(), &mut new);
    let mut columns = pairs(&batch);
    if let Some((column, array)) = columns.get_mut(index) {
        *column = column.clone().with_data_type(DataType::Text).without_definition();
        *array = Arc::new(new.finish()) as ArrayRef;
    }
    // What the value was must not come back by way of a reject: its record is forgotten.
    Ok(rebuild(batch, columns)?.without_raw().into())
}
