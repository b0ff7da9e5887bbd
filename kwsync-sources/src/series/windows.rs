//! How much time a query takes in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A window with fewer rows is too short, one with more too long.
const FEW: u64 = 50_000;
const MANY: u64 = 1_000_000;
/// Below this a window is not shortened.
const SHORTEST: i128 = 1_000_000_000;
/// Above this it is not lengthened: a hundred years of nanoseconds.
const LONGEST: i128 = 3_155_760_000_000_000_000;

/// The lengths of windows, by table. They outlive readers: what a server could not answer in one is asked of it in shorter ones
/// from then on.
#[derive(Debug)]
pub(crate) struct Windows {
    /// The unit that the operator chose, in nanoseconds: what windows begin with, and what they end at.
    unit: i128,
    lengths: Mutex<HashMap<String, i128>>,
}

impl Windows {
    pub(crate) fn new(unit: i128) -> Self {
        Self { unit, lengths: Mutex::default() }
    }

    pub(crate) fn unit(&self) -> i128 {
        self.unit
    }

    fn change(&self, table: &str, change: impl FnOnce(i128) -> i128) -> (i128, i128) {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        let length = lengths.entry(table.to_owned()).or_insert(self.unit);
        let before = *length;
        *length = change(before);
        (before, *length)
    }

    /// The end of the window that begins at `at`: at a whole unit, unless windows are shorter than one.
    pub(crate) fn end(&self, table: &str, at: i128, stop: i128) -> i128 {
        let (length, _) = self.change(table, |length| length);
        let whole = if length < self.unit { at } else { at.div_euclid(self.unit) * self.unit };
        (whole + length).min(stop)
    }

    /// Learns from a window that was read.
    pub(crate) fn read(&self, table: &str, rows: u64) {
        self.change(table, |length| match rows {
            ..FEW => (length * 2).min(LONGEST),
            // Never below what the operator chose, unless the server could not answer that.
            MANY.. if length > self.unit => (length / 2).max(self.unit),
            _ => length,
        });
    }

    /// Learns from a window that was too much for the server; false if it can be no shorter.
    pub(crate) fn shorten(&self, table: &str) -> bool {
        let (before, after) = self.change(table, |length| (length / 2).max(SHORTEST.min(length)));
        after < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_over_few_rows_and_shrink_over_many() {
        let minute = 60_000_000_000;
        let windows = Windows::new(minute);
        assert_eq!(windows.end("a", 1, i128::MAX), minute);
        assert_eq!(windows.end("a", 1, 7), 7);
        windows.read("a", 10);
        assert_eq!(windows.end("a", minute + 1, i128::MAX), 3 * minute);
        windows.read("a", 2_000_000);
        windows.read("a", 2_000_000);
        assert_eq!(windows.end("a", -1, i128::MAX), 0);
        assert!(windows.shorten("a"));
        assert_eq!(windows.end("a", 1, i128::MAX), 1 + minute / 2);
        while windows.shorten("a") {}
        assert_eq!(windows.end("a", 0, i128::MAX), SHORTEST);
        // A century without points takes few queries, and nothing overflows.
        for _ in 0..200 {
            windows.read("b", 0);
        }
        assert_eq!(windows.end("b", 0, i128::MAX), LONGEST / minute * minute + LONGEST % minute);
    }
}
