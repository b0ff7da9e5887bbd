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

/// So many windows below one that was refused are read before one as long is tried again; twice as many after each refusal.
const PATIENCE: u32 = 16;

/// The lengths of windows, by table. They outlive readers: what a server could not answer in one is asked of it in shorter ones
/// from then on, and seldom again.
#[derive(Debug)]
pub(crate) struct Windows {
    /// The unit that the operator chose, in nanoseconds: what windows begin with, and what they end at.
    unit: i128,
    lengths: Mutex<HashMap<String, Length>>,
}

#[derive(Clone, Copy, Debug)]
struct Length {
    now: i128,
    /// What the server could not answer.
    refused: Option<i128>,
    /// Windows that could have been longer since, and how many make it worth a try.
    read: u32,
    patience: u32,
}

impl Length {
    fn lengthen(&mut self) {
        let longer = (self.now * 2).min(LONGEST);
        if self.refused.is_some_and(|refused| self.now >= refused) {
            // It can be answered by now.
            (self.refused, self.patience) = (None, PATIENCE);
        }
        if self.refused.is_some_and(|refused| longer >= refused) && self.read < self.patience {
            self.read += 1;
            return;
        }
        (self.now, self.read) = (longer, 0);
    }
}

impl Windows {
    pub(crate) fn new(unit: i128) -> Self {
        Self { unit, lengths: Mutex::default() }
    }

    pub(crate) fn unit(&self) -> i128 {
        self.unit
    }

    fn change<R>(&self, table: &str, change: impl FnOnce(&mut Length) -> R) -> R {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Length { now: self.unit, refused: None, read: 0, patience: PATIENCE };
        change(lengths.entry(table.to_owned()).or_insert(new))
    }

    /// The end of the window that begins at `at`: at a whole unit, unless windows are shorter than one.
    pub(crate) fn end(&self, table: &str, at: i128, stop: i128) -> i128 {
        let length = self.change(table, |length| length.now);
        let whole = if length < self.unit { at } else { at.div_euclid(self.unit) * self.unit };
        (whole + length).min(stop)
    }

    /// Learns from a window that was read, unless it was cut short.
    pub(crate) fn read(&self, table: &str, rows: u64) {
        self.change(table, |length| match rows {
            ..FEW => length.lengthen(),
            // Never below what the operator chose, unless the server could not answer that.
            MANY.. if length.now > self.unit => length.now = (length.now / 2).max(self.unit),
            _ => {}
        });
    }

    /// Learns from a window of such a length that was too much for the server; false if it can be no shorter.
    pub(crate) fn shorten(&self, table: &str, asked: i128) -> bool {
        self.change(table, |length| {
            if length.refused.is_some_and(|refused| asked >= refused) {
                length.patience = length.patience.saturating_mul(2);
            }
            length.refused = Some(length.refused.map_or(asked, |refused| refused.min(asked)));
            length.read = 0;
            length.now = (asked / 2).max(SHORTEST.min(asked));
            length.now < asked
        })
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
        assert!(windows.shorten("a", minute));
        assert_eq!(windows.end("a", 1, i128::MAX), 1 + minute / 2);
        while windows.shorten("a", windows.end("a", 0, i128::MAX)) {}
        assert_eq!(windows.end("a", 0, i128::MAX), SHORTEST);
        // A century without points takes few queries, and nothing overflows.
        for _ in 0..200 {
            windows.read("b", 0);
        }
        assert_eq!(windows.end("b", 0, i128::MAX), LONGEST / minute * minute + LONGEST % minute);
    }

    #[test]
    fn what_was_refused_is_seldom_tried_again() {
        const SECOND: i128 = 1_000_000_000;
        let windows = Windows::new(60 * SECOND);
        // Reads so many windows of a server that answers no more than some length; gives the refusals, and the last length.
        let read = |count: usize, most: i128| {
            let (mut at, mut refusals, mut length) = (0, 0, 0);
            for _ in 0..count {
                let to = windows.end("t", at, i128::MAX);
                length = to - at;
                if length > most {
                    assert!(windows.shorten("t", length));
                    refusals += 1;
                } else {
                    windows.read("t", 10);
                    at = to;
                }
            }
            (refusals, length)
        };
        let (refusals, _) = read(10_000, 7 * SECOND);
        assert!(refusals <= 16, "{refusals}");
        // Nothing is for ever: with less in them, windows grow again.
        let (refusals, length) = read(50_000, i128::MAX);
        assert!(refusals == 0 && length == LONGEST, "{refusals} {length}");
    }
}
