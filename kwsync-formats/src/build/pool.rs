//! Memory of batches that are gone, used again: fresh pages cost more than filling them.

use std::sync::{Arc, Mutex};

use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer, ToByteSlice};
use bytes::Bytes;

/// Smaller vectors are not worth it.
const WORTH: usize = 16 << 10;
/// Bytes kept of each type.
const MOST: usize = 4 << 20;

type Shelf<T> = Arc<Mutex<Vec<Vec<T>>>>;

/// Vectors of one type, empty, with room.
#[derive(Debug, Clone)]
pub(crate) struct Stack<T>(Shelf<T>);

impl<T> Default for Stack<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: ArrowNativeType> Stack<T> {
    /// A vector with room for `len` values, if that is known.
    pub(crate) fn take(&self, len: usize) -> Vec<T> {
        let worth = len * size_of::<T>() >= WORTH;
        let kept = if worth { self.0.lock().ok().and_then(|mut shelf| shelf.pop()) } else { None };
        kept.unwrap_or_else(|| Vec::with_capacity(len))
    }

    /// The values as a buffer, whose memory comes back when the last one who holds it lets it go.
    pub(crate) fn lend(&self, mut values: Vec<T>) -> ScalarBuffer<T> {
        if values.len() < values.capacity() / 2 {
            values.shrink_to_fit();
        }
        if values.len() * size_of::<T>() < WORTH {
            return ScalarBuffer::from(values);
        }
        let len = values.len();
        let loan = Loan { values, shelf: Arc::clone(&self.0) };
        ScalarBuffer::new(Buffer::from(Bytes::from_owner(loan)), 0, len)
    }
}

struct Loan<T> {
    values: Vec<T>,
    shelf: Shelf<T>,
}

impl<T: ArrowNativeType> AsRef<[u8]> for Loan<T> {
    fn as_ref(&self) -> &[u8] {
        self.values.to_byte_slice()
    }
}

impl<T> Drop for Loan<T> {
    fn drop(&mut self) {
        let mut values = std::mem::take(&mut self.values);
        values.clear();
        let Ok(mut shelf) = self.shelf.lock() else { return };
        let kept: usize = shelf.iter().map(Vec::capacity).sum();
        if (kept + values.capacity()) * size_of::<T>() <= MOST {
            shelf.push(values);
        }
    }
}

/// The types that most columns are made of. Clones share their memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool {
    pub(crate) i64s: Stack<i64>,
    pub(crate) f64s: Stack<f64>,
    pub(crate) views: Stack<u128>,
}
