//! The closed vocabulary of what can go wrong, and what follows from each.

use std::fmt;

/// What went wrong. The list is closed: every kind has its exit status, SQLSTATE class and DataX code in
/// the one table below, and adding a kind is a breaking change.
///
/// | kind | meaning | exit | SQLSTATE class | DataX code | retry |
/// |---|---|---|---|---|---|
/// | `Usage` | the command line is wrong; nothing was touched | 2 | | 00 | never |
/// | `Config` | a parameter, address or file of configuration is wrong; nothing was touched | 2 | 42 | 00 | never |
/// | `NotFound` | a file, table, topic or database is missing | 1 | 3D, 42P01 | 03 | never |
/// | `Permission` | the right to do it is missing | 1 | 28, 42501 | 03 | never |
/// | `Auth` | user or password was refused | 1 | 28P01 | 03 | never |
/// | `Tls` | no secure connection, or a certificate that is not trusted | 1 | | 03 | never |
/// | `Unavailable` | refused, reset, or going down | 1 | 08, 57 | 03 | backoff |
/// | `Timeout` | no answer in time | 1 | 57014 | 03 | backoff |
/// | `Conflict` | deadlock or serialization failure | 1 | 40 | 03 | now |
/// | `DiskFull` | no space, here or at the server | 1 | 53 | 03 | never |
/// | `Io` | another fault of the operating system | 1 | 58 | 03 | never |
/// | `Server` | another fault of the other side's system | 1 | XX, 53 | 03 | backoff |
/// | `Protocol` | the other side said something its protocol does not allow | 1 | 08P01 | 03 | never |
/// | `Schema` | table and data do not fit together | 1 | 42 | 04 | never |
/// | `Data` | a fault of one row or value: the only kind that may become a reject | 1 | 22, 23 | 02 | never |
/// | `Limit` | a bound of this program was reached | 1 | 54 | 02 | never |
/// | `Unsupported` | understood, but not possible here | 2 | 0A | 05 | never |
/// | `Budget` | more rejects than allowed | 4 | | 02 | never |
/// | `Fenced` | another process has taken the job over | 1 | | 03 | never |
/// | `Cancelled` | stopped on request; resumable | 130 | 57014 | 03 | never |
/// | `Internal` | a fault of this program | 1 | XX | 03 | never |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table above is the documentation of each variant")]
pub enum ErrorKind {
    Usage,
    Config,
    NotFound,
    Permission,
    Auth,
    Tls,
    Unavailable,
    Timeout,
    Conflict,
    DiskFull,
    Io,
    Server,
    Protocol,
    Schema,
    Data,
    Limit,
    Unsupported,
    Budget,
    Fenced,
    Cancelled,
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of the table.
    pub const ALL: [Self; 21] = [
        Self::Usage,
        Self::Config,
        Self::NotFound,
        Self::Permission,
        Self::Auth,
        Self::Tls,
        Self::Unavailable,
        Self::Timeout,
        Self::Conflict,
        Self::DiskFull,
        Self::Io,
        Self::Server,
        Self::Protocol,
        Self::Schema,
        Self::Data,
        Self::Limit,
        Self::Unsupported,
        Self::Budget,
        Self::Fenced,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The name as it stands in reports: snake case.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The exit status of a command that ends with this kind.
    pub fn exit_status(self) -> u8 {
        self.row().1
    }

    /// The number behind `KaiwuDBWriter-` in a DataX summary.
    pub fn datax_code(self) -> &'static str {
        self.row().2
    }

    /// Whether trying again may help, unless the error itself says otherwise.
    pub fn retry(self) -> Retry {
        self.row().3
    }

    fn row(self) -> (&'static str, u8, &'static str, Retry) {
        use Retry::{Backoff, Never, Now};
        match self {
            Self::Usage => ("usage", 2, "00", Never),
            Self::Config => ("config", 2, "00", Never),
            Self::NotFound => ("not_found", 1, "03", Never),
            Self::Permission => ("permission", 1, "03", Never),
            Self::Auth => ("auth", 1, "03", Never),
            Self::Tls => ("tls", 1, "03", Never),
            Self::Unavailable => ("unavailable", 1, "03", Backoff),
            Self::Timeout => ("timeout", 1, "03", Backoff),
            Self::Conflict => ("conflict", 1, "03", Now),
            Self::DiskFull => ("disk_full", 1, "03", Never),
            Self::Io => ("io", 1, "03", Never),
            Self::Server => ("server", 1, "03", Backoff),
            Self::Protocol => ("protocol", 1, "03", Never),
            Self::Schema => ("schema", 1, "04", Never),
            Self::Data => ("data", 1, "02", Never),
            Self::Limit => ("limit", 1, "02", Never),
            Self::Unsupported => ("unsupported", 2, "05", Never),
            Self::Budget => ("budget", 4, "02", Never),
            Self::Fenced => ("fenced", 1, "03", Never),
            Self::Cancelled => ("cancelled", 130, "03", Never),
            Self::Internal => ("internal", 1, "03", Never),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the same call may succeed when it is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It fails again until somebody changes something.
    Never,
    /// It may succeed at once, as after a deadlock.
    Now,
    /// It may succeed after a while, as when a server restarts.
    Backoff,
}

/// Whether the rows of a failed call have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivered {
    /// None of them: the transaction was never sent to commit, or was rolled back.
    No,
    /// Unknown: COMMIT had been sent and its answer was lost.
    InDoubt,
    /// All of them: the fault came after the commit.
    Yes,
}
