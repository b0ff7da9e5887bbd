//! Where objects begin and end among blanks, lines and arrays.

use kwsync_core::Position;

use super::read::scan::Leap;
use super::read::{Object, Stop};
use crate::framing::{Boundary, Extent, Fault, Piece, Place, Read};

/// How objects lie in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Records {
    /// [`Lines`](Self::Lines) where the input has lines, as files do; [`Values`](Self::Values) where it has none, as
    /// messages.
    #[default]
    Auto,
    /// An object ends on the line that it begins on. A broken one never costs more than its line.
    Lines,
    /// Objects may go over several lines.
    Values,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// An object, or an array of them
    Top,
    /// In an array, the first element or its end
    Opened,
    /// In an array, a comma or its end
    Element,
    /// In an array, an element
    Comma,
    /// Anything of these: after a fault, or where reading was resumed
    Loose,
}

/// Finds objects: one after another, with blanks or line feeds between them or without, or in an array.
#[derive(Debug)]
pub(crate) struct Framing {
    mode: Records,
    lines: bool,
    state: State,
    /// After a fault on a later line than its object's first: what is indented deeper is a part of that object.
    wary: Option<u64>,
    /// Up to here objects have been tried that turned out to be none
    tried: u64,
    /// Bytes that may still be spent on trying others that begin before
    budget: u64,
}

/// What stands at a place.
#[derive(Debug)]
pub(crate) enum Next {
    /// An object begins here.
    Object,
    /// No object, which has been dealt with
    Read(Read),
}

impl Framing {
    pub(crate) fn new(mode: Records) -> Self {
        Self { mode, lines: mode != Records::Values, state: State::Top, wary: None, tried: 0, budget: 0 }
    }

    /// An object ends on its line.
    pub(crate) fn one_line(&self) -> bool {
        self.lines
    }

    pub(crate) fn restart(&mut self, at: Position) {
        self.lines = match self.mode {
            Records::Auto => at.line != 0,
            Records::Lines => true,
            Records::Values => false,
        };
        self.state = if at.byte == 0 { State::Top } else { State::Loose };
        self.wary = None;
        self.tried = 0;
    }

    /// A message ends: what is wrong with that.
    pub(crate) fn end(&mut self) -> Option<Fault> {
        let open = matches!(self.state, State::Opened | State::Element | State::Comma);
        self.state = State::Top;
        open.then(|| Fault::new("incomplete_record", "the array is not closed", 0))
    }

    pub(crate) fn boundary(&self) -> Follow {
        Follow { lines: self.lines, value: None, leap: Leap::default() }
    }

    #[inline(always)]
    pub(crate) fn next(&mut self, piece: Piece<'_>, place: Place) -> Next {
        let open = piece.data.get(piece.at) == Some(&b'{');
        if open && self.wary.is_none() && matches!(self.state, State::Top | State::Comma | State::Loose) {
            return Next::Object;
        }
        self.between(piece, place)
    }

    /// Blanks and what else stands between objects.
    #[inline(never)]
    fn between(&mut self, piece: Piece<'_>, place: Place) -> Next {
        let Piece { data, at: start, .. } = piece;
        let mut at = start;
        let taken = |at: usize| Next::Read(Read::Taken(Extent::of(data, start, at)));
        while matches!(data.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            at += 1;
        }
        if at > start {
            return taken(at);
        }
        let byte = data.get(at).copied().unwrap_or(0);
        if let Some(column) = self.wary {
            let spent = self.budget == 0 && place.byte() < self.tried;
            if matches!(byte, b'{' | b'[' | b']' | b',') && place.column() <= column && !spent {
                self.wary = None;
            } else {
                let reason = "part of the object before, which is no JSON";
                return Next::Read(Read::Bad(Fault::new("bad_json", reason, at)));
            }
        }
        let state = match (self.state, byte) {
            (State::Top | State::Opened | State::Comma | State::Loose, b'{') => return Next::Object,
            (State::Top | State::Loose, b'[') => State::Opened,
            (State::Opened | State::Element, b']') => State::Top,
            (State::Loose, b']' | b',') => State::Loose,
            (State::Element, b',') => State::Comma,
            (state, _) => {
                let reason = match state {
                    State::Element => "a comma or ] is missing here",
                    State::Opened | State::Comma => {
                        "an object is missing here; the array's elements are objects"
                    }
                    State::Top | State::Loose => "no JSON object begins here",
                };
                if state != State::Top {
                    self.state = State::Loose;
                }
                return Next::Read(Read::Bad(Fault::new("not_an_object", reason, at)));
            }
        };
        self.state = state;
        taken(at + 1)
    }

    /// The stretch from the object's beginning to after its end at `end` and what plainly follows it.
    #[inline(always)]
    pub(crate) fn after(&mut self, data: &[u8], end: usize) -> Extent {
        let mut end = end;
        match self.state {
            State::Top | State::Loose => {}
            _ => {
                self.state = State::Element;
                if data.get(end) == Some(&b',') {
                    self.state = State::Comma;
                    end += 1;
                }
            }
        }
        let line = match data.get(end) {
            Some(b'\n') => end + 1,
            Some(b'\r') if data.get(end + 1) == Some(&b'\n') => end + 2,
            _ => return Extent::within_line(end),
        };
        Extent { end: line, lines: 1, line_start: line }
    }

    /// As [`after`](Self::after), for an object that has been taken apart.
    pub(crate) fn after_object(&mut self, data: &[u8], object: &Object) -> Extent {
        let extent = self.after(data, object.end);
        if extent.lines > 0 {
            return Extent { lines: extent.lines + object.lines, ..extent };
        }
        Extent { lines: object.lines, line_start: object.line_start, ..extent }
    }

    /// What becomes of an object that could not be read.
    pub(crate) fn stop(&mut self, piece: Piece<'_>, place: Place, stop: Stop) -> Read {
        match stop {
            Stop::Open if !piece.last => Read::Incomplete,
            Stop::Open => {
                self.fault(piece, place, piece.data.len());
                Read::Bad(Fault::new("incomplete_record", "the object is not closed", piece.data.len()))
            }
            Stop::Bad(code, reason, at) => self.bad(piece, place, Fault::new(code, reason, at)),
        }
    }

    /// What becomes of bytes that are no object.
    pub(crate) fn bad(&mut self, piece: Piece<'_>, place: Place, fault: Fault) -> Read {
        self.fault(piece, place, fault.at);
        Read::Bad(fault)
    }

    fn fault(&mut self, piece: Piece<'_>, place: Place, at: usize) {
        if self.state != State::Top {
            self.state = State::Loose;
        }
        let before = piece.data.get(piece.at..at).unwrap_or_default();
        if !self.lines && memchr::memchr(b'\n', before).is_some() {
            self.wary = Some(place.column());
            // Every line of what failed may begin another object that fails as late: that must not go on for ever.
            let (cost, end) = (before.len() as u64, place.byte() + before.len() as u64);
            if place.byte() >= self.tried {
                self.budget = cost * 8 + (64 << 10);
            }
            self.budget = self.budget.saturating_sub(cost);
            self.tried = self.tried.max(end);
        }
    }
}

/// Follows an object over pieces of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    lines: bool,
    /// Whether it is an object or an array at all, once its first byte has come
    value: Option<bool>,
    leap: Leap,
}

impl Boundary for Follow {
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let first = matches!(bytes.first()?, b'{' | b'[');
        let value = *self.value.get_or_insert(first);
        if self.lines || !value {
            return memchr::memchr(b'\n', bytes).map(|n| n + 1);
        }
        self.leap.find(bytes, 0)
    }
}
