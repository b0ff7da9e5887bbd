//! Why a row was left out.

/// A row that cannot be held exactly, and is therefore not among the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowFault {
    /// The row of the batch.
    pub row: usize,
    /// The target column, by its place among the encoder's; the first one where there are several.
    pub column: usize,
    /// A stable code in snake case.
    pub code: &'static str,
    /// The reason, for a person: the column, the value, and the option that allows it where there is one.
    pub reason: String,
}

impl RowFault {
    pub(crate) fn new(row: usize, column: usize, name: &str, fault: Fault) -> Self {
        Self { row, column, code: fault.code, reason: format!("column {name:?}: {}", fault.reason) }
    }
}

/// Why one value cannot be written.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

impl Fault {
    #[cold]
    pub(crate) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// A text that does not read as what it should be; a long one is cut.
    #[cold]
    pub(crate) fn text(code: &'static str, text: &str, what: &str) -> Self {
        let shown: String = text.chars().take(64).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        Self::new(code, format!("{shown:?}{more} is no {what}"))
    }
}

/// Gathers the faults of one column, at places counted from the start of what is being encoded.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) found: Vec<(usize, Fault)>,
    /// Values that were changed because an option allows it.
    pub(crate) coerced: u64,
}

impl Faults {
    #[cold]
    pub(crate) fn add(&mut self, at: usize, fault: Fault) {
        self.found.push((at, fault));
    }
}
