//! How changes are followed, in words that all databases share.

use kwsync_core::config::Params;
use kwsync_core::{Error, Result};

use crate::relational::Mode;

/// In which order changes are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// That of the source where tables refer to each other or have unique indexes beside their key; the net effect of each table elsewhere.
    #[default]
    Auto,
    /// That of the source, over all tables.
    Source,
    /// The net effect of each table.
    Table,
}

impl Order {
    /// What the parameter `order` says.
    pub(crate) fn of(params: &Params) -> Self {
        match params.choice("order") {
            Some("source") => Self::Source,
            Some("table") => Self::Table,
            _ => Self::Auto,
        }
    }
}

/// What is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is there, and the changes that have come meanwhile; then the job ends.
    #[default]
    CaughtUp,
    /// What comes.
    Realtime,
    /// Both, without an end.
    All,
}

impl From<Mode> for Extent {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::History => Self::CaughtUp,
            Mode::Realtime => Self::Realtime,
            Mode::All => Self::All,
        }
    }
}

/// Which changes are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operations {
    pub(crate) insert: bool,
    pub(crate) update: bool,
    pub(crate) delete: bool,
    pub(crate) truncate: bool,
    /// Columns that are added.
    pub(crate) alter: bool,
}

impl Default for Operations {
    fn default() -> Self {
        Self { insert: true, update: true, delete: true, truncate: true, alter: true }
    }
}

impl Operations {
    /// What the parameter `operations` says; all without it.
    ///
    /// # Errors
    /// `Config` for a word that is none of them.
    pub(crate) fn of(params: &Params) -> Result<Self> {
        let words = params.list("operations");
        if words.is_empty() {
            return Ok(Self::default());
        }
        let mut made = Self { insert: false, update: false, delete: false, truncate: false, alter: false };
        for word in words {
            let place = match word.trim().to_ascii_lowercase().as_str() {
                "insert" => &mut made.insert,
                "update" => &mut made.update,
                "delete" => &mut made.delete,
                "truncate" => &mut made.truncate,
                "alter" => &mut made.alter,
                _ => {
                    return Err(Error::config(format!("operations={word}: there is no such operation"))
                        .with_hint("name some of insert, update, delete, truncate, alter"));
                }
            };
            *place = true;
        }
        Ok(made)
    }
}
