//! Whose fault a SQLSTATE tells of: the row's, the schema's, the system's.

use super::ErrorKind;

/// Whose fault it is. Only [`Row`](Self::Row) may become a reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SqlStateClass {
    /// The row's: a value that does not fit or a constraint that is broken (classes 21, 22, 23, 44, P0001).
    Row,
    /// Table and statement do not fit together (class 42 and its like).
    Schema,
    /// The server or the connection: never a reject (08, 53, 55, 57, 58, XX ...).
    System,
    /// The transaction lost against another: try again at once (class 40, 55P03).
    Conflict,
}

/// Classifies a SQLSTATE of five characters; an unknown one counts as the system's, so that it can never
/// cause rows to be thrown away.
///
/// Follows PostgreSQL's appendix "Error Codes".
///
/// # Examples
/// ```
/// use kwsync_core::{ErrorKind, SqlStateClass, classify_sqlstate};
///
/// assert_eq!(classify_sqlstate("23505"), (SqlStateClass::Row, ErrorKind::Data));
/// assert_eq!(classify_sqlstate("53100"), (SqlStateClass::System, ErrorKind::DiskFull));
/// ```
pub fn classify_sqlstate(code: &str) -> (SqlStateClass, ErrorKind) {
    use ErrorKind as Kind;
    use SqlStateClass as Class;
    match code {
        "40P01" | "40001" | "55P03" => return (Class::Conflict, Kind::Conflict),
        "53100" => return (Class::System, Kind::DiskFull),
        "57014" => return (Class::System, Kind::Timeout),
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "53400" => {
            return (Class::System, Kind::Unavailable);
        }
        "42501" => return (Class::System, Kind::Permission),
        "3D000" | "42P01" | "3F000" => return (Class::Schema, Kind::NotFound),
        "28000" | "28P01" => return (Class::System, Kind::Auth),
        "08P01" => return (Class::System, Kind::Protocol),
        "25006" => return (Class::System, Kind::Permission),
        "P0001" => return (Class::Row, Kind::Data),
        "0A000" => return (Class::Schema, Kind::Unsupported),
        _ => {}
    }
    match code.get(..2).unwrap_or("") {
        "21" | "22" | "23" | "44" => (Class::Row, Kind::Data),
        "42" => (Class::Schema, Kind::Schema),
        "54" => (Class::Schema, Kind::Limit),
        "40" => (Class::Conflict, Kind::Conflict),
        "08" => (Class::System, Kind::Unavailable),
        "28" => (Class::System, Kind::Auth),
        "57" => (Class::System, Kind::Unavailable),
        _ => (Class::System, Kind::Server),
    }
}
