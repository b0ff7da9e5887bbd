//! Where a record ends that arrives in pieces, or a sample of records that the types are told from.

use super::options::{Form, Newline};
use super::split::Splitter;
use crate::framing::Boundary;

/// Follows records: one, or as many as a sample has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    quote: Option<u8>,
    escape: Option<u8>,
    text: bool,
    newline: Newline,
    inside: bool,
    escaped: bool,
    /// A carriage return has been seen that may be half of a line end
    carriage: bool,
    records: u32,
    bytes: usize,
}

impl Ends {
    /// Up to so many records, or the end of the one that passes so many bytes.
    pub(super) fn new(splitter: &Splitter, form: Form, records: u32, bytes: usize) -> Self {
        let (quote, escape) = splitter.marks();
        let text = form == Form::Text;
        Self {
            quote: quote.filter(|_| !text),
            escape,
            text,
            newline: splitter.newline,
            inside: false,
            escaped: false,
            carriage: false,
            records,
            bytes,
        }
    }

    /// One record has ended. Whether that is all.
    fn ended(&mut self, len: usize) -> bool {
        (self.inside, self.escaped, self.carriage) = (false, false, false);
        self.records = self.records.saturating_sub(1);
        self.records == 0 || len >= self.bytes
    }
}

impl Boundary for Ends {
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            let len = at + 1;
            let carriage = std::mem::take(&mut self.carriage);
            if carriage && byte != b'\n' {
                // The record ended before this byte. If it was the last, the byte goes along with it.
                self.newline = Newline::Cr;
                if self.ended(len) {
                    self.bytes = self.bytes.saturating_sub(len);
                    return Some(len);
                }
            }
            let end = if std::mem::take(&mut self.escaped) {
                false
            } else if self.inside {
                let escape = self.escape == Some(byte);
                if escape && self.escape != self.quote {
                    self.escaped = true;
                } else if self.quote == Some(byte) {
                    self.inside = false;
                }
                false
            } else if self.text && self.escape == Some(byte) {
                self.escaped = true;
                false
            } else if self.quote == Some(byte) {
                self.inside = true;
                false
            } else {
                match (byte, self.newline) {
                    (b'\n', Newline::Auto) => {
                        self.newline = if carriage { Newline::CrLf } else { Newline::Lf };
                        true
                    }
                    (b'\n', Newline::Lf | Newline::CrLf) | (b'\r', Newline::Cr) => true,
                    (b'\r', Newline::Auto) => {
                        self.carriage = true;
                        false
                    }
                    _ => false,
                }
            };
            if end && self.ended(len) {
                self.bytes = self.bytes.saturating_sub(len);
                return Some(len);
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes.len());
        None
    }
}
