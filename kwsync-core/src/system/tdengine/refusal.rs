//! What the server refuses, by its code.

use std::fmt;

use crate::{Error, ErrorKind};

/// A code and a text of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code, without the part that all codes have: `0x2603`.
    pub code: u16,
    /// What it says.
    pub text: String,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalClass {
    /// A row: another one may be taken.
    Row,
    /// The length of the statement.
    Length,
    /// A table, or a supertable, that is not there.
    NoTable,
    /// A column or a tag that is not there.
    NoColumn,
    /// What was to be made is there.
    Exists,
    /// The database, which is not there.
    NoDatabase,
    /// The server, for a while.
    Busy,
    /// Who asks.
    Login,
    /// What they may do.
    Right,
    /// The disk.
    Disk,
    /// The licence.
    License,
    /// Anything else.
    Other,
}

impl Refusal {
    /// What it is about.
    pub fn class(&self) -> RefusalClass {
        use RefusalClass as C;
        match self.code {
            0x0219 => C::Length,
            // Also "Fail to get table info", which the server says of tables that are not there.
            0x0362 | 0x0618 | 0x061a | 0x2603 | 0x2662 => C::NoTable,
            0x036a | 0x036c | 0x0526 | 0x2602 | 0x260e => C::NoColumn,
            0x0360 | 0x0369 | 0x036b | 0x0381 | 0x0525 | 0x0603 | 0x0619 | 0x263c => C::Exists,
            0x0383 | 0x0388 | 0x2404 | 0x2616 => C::NoDatabase,
            0x013d
            | 0x0202
            | 0x0203
            | 0x0216
            | 0x021b
            | 0x021e
            | 0x021f
            | 0x0221
            | 0x0222
            | 0x0224
            | 0x060b
            | 0x0615
            | 0x061d
            | 0x2600
            | 0x2605
            | 0x260d
            | 0x2617
            | 0x2618
            | 0x2635
            | 0x263d
            | 0x263e
            | 0x264c
            | 0x2653
            | 0x266a
            | 0x267b..=0x267d => C::Row,
            0x000b
            | 0x0013
            | 0x0018..=0x002a
            | 0x0111
            | 0x0121
            | 0x0125
            | 0x0126
            | 0x012c
            | 0x0130
            | 0x0131
            | 0x0137
            | 0x0139
            | 0x0212
            | 0x0213
            | 0x0215
            | 0x032c
            | 0x032d
            | 0x0386
            | 0x0396
            | 0x03c6
            | 0x03d3
            | 0x03d5..=0x03d9
            | 0x0408
            | 0x0503
            | 0x0522
            | 0x0528
            | 0x0529
            | 0x0531
            | 0x0602
            | 0x061b
            | 0x0808
            | 0x0903
            | 0x090c
            | 0x0911
            | 0x0914
            | 0x0916..=0x0918
            | 0x2402
            | 0x2405
            | 0x2406
            | 0x2504 => C::Busy,
            0x0350..=0x0354 | 0x0357 | 0x0358 => C::Login,
            0x0134 | 0x0214 | 0x0303 | 0x0512 | 0x2644 => C::Right,
            0x0129 | 0x012b | 0x012e | 0x0613 => C::Disk,
            0x0800..=0x082f => C::License,
            _ => C::Other,
        }
    }

    /// The code as the server prints it: `0x2603`.
    pub fn code_text(&self) -> String {
        format!("0x{:04X}", self.code)
    }

    /// The refusal as an error of which it is the source; `place` is the server.
    pub fn into_error(self, place: &str) -> Error {
        use RefusalClass as C;
        let text = format!("TDengine at {place} says: {self}");
        let code = self.code_text();
        let class = self.class();
        let made = match class {
            C::Row => Error::new(ErrorKind::Data, text),
            C::Length => Error::new(ErrorKind::Limit, text)
                .with_hint("lower max-sql-length=, or raise maxSQLLength in the server's configuration"),
            C::NoTable => Error::new(ErrorKind::NotFound, text).with_hint("names are as they were written: case counts"),
            C::NoColumn => Error::new(ErrorKind::Schema, text).with_hint("names are as they were written: case counts"),
            C::Exists => Error::new(ErrorKind::Schema, text),
            C::NoDatabase => Error::new(ErrorKind::NotFound, text)
                .with_hint("check the database in the address; as a target it is made with assert: taos://HOST:6041/DB?assert"),
            C::Busy if self.code == 0x000b => Error::new(ErrorKind::Unavailable, text).with_hint(
                "taosAdapter cannot reach the server behind it: check that taosd runs, that its host name (FQDN) can be resolved there and that \
                 port 6030 is open",
            ),
            C::Busy => Error::new(ErrorKind::Unavailable, text),
            C::Login => Error::new(ErrorKind::Auth, text).with_hint("give taos+http://USER:PASSWORD@HOST, or token="),
            C::Right => Error::new(ErrorKind::Permission, text)
                .with_hint("the user needs the right to read or write the database: GRANT READ ON db.* TO user, GRANT WRITE ON db.* TO user"),
            C::Disk => Error::new(ErrorKind::DiskFull, text),
            C::License => Error::new(ErrorKind::Permission, text).with_hint("the server's licence does not allow it"),
            C::Other if self.code == 0x038c => Error::new(ErrorKind::Config, text)
                .with_hint("alter database DB wal_retention_period 3600"),
            C::Other => Error::new(ErrorKind::Server, text).with_retry(crate::Retry::Never),
        };
        made.with_code(code).with_source(self)
    }

    /// The refusal that an error comes from.
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[0x{:04X}] {}", self.code, self.text)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Retry;

    #[test]
    fn refusals_have_their_kinds() {
        for (code, kind, retry) in [
            (0x2653, ErrorKind::Data, Retry::Never),
            (0x2603, ErrorKind::NotFound, Retry::Never),
            (0x0388, ErrorKind::NotFound, Retry::Never),
            (0x000b, ErrorKind::Unavailable, Retry::Backoff),
            (0x0357, ErrorKind::Auth, Retry::Never),
            (0x2644, ErrorKind::Permission, Retry::Never),
            (0x012b, ErrorKind::DiskFull, Retry::Never),
            (0x0219, ErrorKind::Limit, Retry::Never),
            (0x7777, ErrorKind::Server, Retry::Never),
        ] {
            let error = Refusal { code, text: "no".to_owned() }.into_error("h:6041");
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{code:x}");
            assert_eq!(Refusal::of(&error).map(|refusal| refusal.code), Some(code));
        }
        let error =
            Refusal { code: 0x038c, text: "WAL retention period is zero".to_owned() }.into_error("h:6041");
        assert_eq!(error.message(), "TDengine at h:6041 says: [0x038C] WAL retention period is zero");
        assert!(error.hint().is_some_and(|hint| hint.contains("wal_retention_period 3600")));
    }
}
