//! All faults of a configuration at once.

use std::cell::RefCell;

use super::Place;
use crate::{Error, ErrorKind};

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The configuration is not built as it should be: an unknown key, things that contradict each other.
    Form,
    /// Something is missing.
    Missing,
    /// A value is none that is allowed.
    Value,
    /// Understood, but not possible.
    Unsupported,
}

struct Fault {
    place: Place,
    wrong: Wrong,
    message: String,
    hint: Option<String>,
}

/// Gathers faults, so that the reader can mend all of them in one go.
#[derive(Default)]
pub(crate) struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub(crate) fn add(&self, place: &Place, wrong: Wrong, message: impl Into<String>, hint: Option<String>) {
        self.0.borrow_mut().push(Fault { place: place.clone(), wrong, message: message.into(), hint });
    }

    /// Keeps an error that something else has found in the value at `place`.
    pub(crate) fn add_error(&self, place: &Place, path: &str, error: &Error) {
        let wrong = if error.kind() == ErrorKind::Unsupported { Wrong::Unsupported } else { Wrong::Value };
        self.add(place, wrong, format!("`{path}`: {}", error.message()), error.hint().map(str::to_owned));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// One error for all of them, in the order of their places. `headed` puts a heading before each.
    pub(crate) fn finish(&self, headed: impl Fn(Wrong) -> &'static str) -> Result<(), Error> {
        let mut faults = std::mem::take(&mut *self.0.borrow_mut());
        faults.sort_by(|a, b| a.place.cmp(&b.place));
        let all_unsupported = faults.iter().all(|fault| fault.wrong == Wrong::Unsupported);
        let kind = if all_unsupported { ErrorKind::Unsupported } else { ErrorKind::Config };
        let error = match faults.as_slice() {
            [] => return Ok(()),
            [only] => {
                let message = format!("{}{}", headed(only.wrong), only.message);
                Error::new(kind, message).with_location(only.place.location())
            }
            many => {
                let said: Vec<_> = many
                    .iter()
                    .enumerate()
                    .map(|(at, fault)| {
                        format!("({}) {}{} ({})", at + 1, headed(fault.wrong), fault.message, fault.place)
                    })
                    .collect();
                Error::new(kind, format!("{} faults: {}", many.len(), said.join("; ")))
            }
        };
        let mut hints: Vec<_> = faults.into_iter().filter_map(|fault| fault.hint).collect();
        hints.dedup();
        Err(if hints.is_empty() { error } else { error.with_hint(hints.join("; ")) })
    }
}
