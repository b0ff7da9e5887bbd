//! Where a record ends that arrives in pieces: a state machine over bytes, so that nothing is read twice.

use crate::influx::Dialect;
use crate::influx::scan::string_stop;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Start,
    Comment,
    Name,
    NameEscape,
    Spaces,
    Key,
    KeyEscape,
    ValueStart,
    Value,
    Str,
    StrEscape,
    AfterStr,
    Tail,
}

/// Follows a record up to the line feed that ends it, the first outside a string.
///
/// For a well-formed record the end is exact. A malformed one may seem to go on longer than it does; the parser
/// decides once the bytes are there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Boundary {
    state: State,
    /// Records are physical lines.
    lines: bool,
}

impl Boundary {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { state: State::Start, lines: dialect != Dialect::Influx }
    }

    /// Offset after the record's end, if it lies in `bytes`, which continue those of earlier calls.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.lines {
            return memchr::memchr(b'\n', bytes).map(|n| n + 1);
        }
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.state == State::Str {
                let stop = string_stop(bytes, at);
                at = stop + 1;
                match bytes.get(stop) {
                    Some(b'"') => self.state = State::AfterStr,
                    Some(b'\\') => self.state = State::StrEscape,
                    _ => {}
                }
                continue;
            }
            if self.state == State::StrEscape {
                self.state = State::Str;
                at += usize::from(matches!(byte, b'"' | b'\\'));
                continue;
            }
            at += 1;
            if byte == b'\n' {
                self.state = State::Start;
                return Some(at);
            }
            self.state = match (self.state, byte) {
                (State::Start, b' ' | b'\t') => State::Start,
                (State::Start, b'#') => State::Comment,
                (State::Start | State::Name | State::NameEscape, b'\\') => State::NameEscape,
                (State::Start | State::NameEscape, _) => State::Name,
                (State::Name | State::Spaces, b' ') => State::Spaces,
                (State::Spaces | State::Key | State::KeyEscape, b'\\') => State::KeyEscape,
                (State::Key, b'=') => State::ValueStart,
                (State::Spaces, b'=') => State::ValueStart,
                (State::Spaces | State::KeyEscape, _) => State::Key,
                (State::ValueStart, b'"') => State::Str,
                (State::ValueStart | State::Value | State::AfterStr, b',') => State::Key,
                (State::ValueStart | State::Value | State::AfterStr, b' ') => State::Tail,
                (State::ValueStart, _) => State::Value,
                (State::AfterStr, _) => State::Tail,
                (state, _) => state,
            };
        }
        None
    }
}
