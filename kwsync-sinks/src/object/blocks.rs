//! What an encoder has written and nobody has uploaded.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of a piece.
const PIECE: usize = 1 << 20;

/// Bytes in pieces of 1 MiB. Clones share them: an encoder owns one, whoever uploads another.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    open: Vec<u8>,
    held: usize,
    total: u64,
}

impl Blocks {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes that are here.
    pub(super) fn held(&self) -> usize {
        self.with(|held| held.held)
    }

    /// Bytes that were written at all.
    pub(super) fn total(&self) -> u64 {
        self.with(|held| held.total)
    }

    /// The first `bytes`, a multiple of the pieces, once they are there.
    pub(super) fn take(&self, bytes: usize) -> Option<Vec<Bytes>> {
        self.with(|held| {
            let count = bytes.div_ceil(PIECE);
            if held.pieces.len() < count {
                return None;
            }
            let taken: Vec<_> = held.pieces.drain(..count).collect();
            held.held -= taken.iter().map(Bytes::len).sum::<usize>();
            Some(taken)
        })
    }

    /// All that is left.
    pub(super) fn take_rest(&self) -> Vec<Bytes> {
        self.with(|held| {
            held.end_piece();
            held.held = 0;
            held.pieces.drain(..).collect()
        })
    }
}

impl Held {
    fn end_piece(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.open).into());
        }
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(self.with(|held| {
            if held.open.capacity() == 0 {
                // A small object takes little.
                held.open.reserve(bytes.len().min(PIECE));
            }
            let taken = bytes.len().min(PIECE - held.open.len());
            held.open.extend_from_slice(bytes.get(..taken).unwrap_or(bytes));
            held.held += taken;
            held.total += taken as u64;
            if held.open.len() == PIECE {
                held.end_piece();
            }
            taken
        }))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_order() {
        let mut writing = Blocks::default();
        let blocks = writing.clone();
        let bytes: Vec<u8> = (0..(3 << 20) + 17).map(|n: u32| (n % 251) as u8).collect();
        writing.write_all(&bytes[..100]).unwrap();
        assert!(blocks.take(1 << 20).is_none());
        writing.write_all(&bytes[100..]).unwrap();
        let mut read: Vec<Bytes> = blocks.take(2 << 20).unwrap();
        assert_eq!(blocks.held(), (1 << 20) + 17);
        assert!(blocks.take(2 << 20).is_none());
        read.extend(blocks.take_rest());
        assert_eq!((blocks.held(), blocks.total()), (0, bytes.len() as u64));
        assert_eq!(read.concat(), bytes);
        assert!(blocks.take_rest().is_empty());
    }
}
