//! What is wrong with a line, and where.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $code:literal, $text:literal;)*) => {
        /// Why a record was refused. The code ([`Reason::code`]) is stable across releases.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable snake_case name of the reason, as it stands in a reject file.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// One sentence for the person who reads the error: what is wrong and what to do.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// The line begins with `,`.
    MissingMeasurement => "missing_measurement", "the measurement name is empty; a line begins with its measurement";
    /// `m,=v f=1`, or a comma that no tag follows.
    EmptyTagKey => "empty_tag_key", "a tag has no key; remove the comma or write key=value";
    /// `m,t f=1`: a tag without `=`.
    MissingTagValue => "missing_tag_value", "a tag has no '='; write key=value, and escape a space or comma in a key with a backslash";
    /// `m,t= f=1`.
    EmptyTagValue => "empty_tag_value", "a tag has an empty value; leave the tag out instead";
    /// `m,t=a=b f=1`.
    UnescapedEquals => "unescaped_equals", "a tag value holds an unescaped '='; write '\\='";
    /// The same tag key twice.
    DuplicateTag => "duplicate_tag", "the same tag key occurs twice in one line";
    /// The line ends before its first field.
    MissingFields => "missing_fields", "the line has no fields; after the measurement and tags come a space and key=value";
    /// `m =1`.
    EmptyFieldKey => "empty_field_key", "a field has no key";
    /// A comma after the last field.
    TrailingComma => "trailing_comma", "a comma is not followed by a field";
    /// `m f`, `m f=`.
    MissingFieldValue => "missing_field_value", "a field has no value; write key=value, and escape a space or comma in a key with a backslash";
    /// A field value that is no number, boolean or string.
    BadValue => "bad_value", "a field value is neither a number, a boolean nor a string in double quotes";
    /// Something like `1.5i` or `-1u`.
    BadInteger => "bad_integer", "an integer is malformed; digits, then 'i' (signed) or 'u' (unsigned, no minus)";
    /// Does not fit 64 bits.
    IntegerOverflow => "integer_overflow", "an integer does not fit 64 bits";
    /// Something like `1e`, `1.2.3`, `0x10`.
    BadFloat => "bad_float", "a number is malformed; there is no '+', '_', hexadecimal, NaN or infinity";
    /// `1e400`.
    FloatOverflow => "float_overflow", "a number is too large for a 64-bit float";
    /// A string whose closing quote never comes.
    UnterminatedString => "unterminated_string", "a string has no closing double quote";
    /// `f="a"b`.
    TextAfterString => "text_after_string", "text follows the closing quote of a string; escape a quote inside with a backslash";
    /// Dialects with typed values: `1i8` where there is no `i8`.
    BadSuffix => "bad_suffix", "a number ends in a suffix that this dialect does not have";
    /// Dialects with typed values: `70000i16`.
    OutOfRange => "out_of_range", "a number does not fit the type that its suffix names";
    /// TDengine's `B"\\x123"`.
    BadBytes => "bad_bytes", "bytes are written as pairs of hexadecimal digits behind \\x";
    /// Dialects with typed values: `a\\b` as a name.
    BadEscape => "bad_escape", "a name holds a backslash that escapes nothing, or a special character without its backslash";
    /// One field twice, with different types.
    FieldTypeConflict => "field_type_conflict", "the same field occurs twice in one line with different types";
    /// A tag and a field of one name.
    TagFieldClash => "tag_field_clash", "a tag and a field of one line have the same name";
    /// Not an integer.
    BadTimestamp => "bad_timestamp", "the timestamp is not an integer";
    /// Does not fit i64, as written or in nanoseconds.
    TimestampOverflow => "timestamp_overflow", "the timestamp does not fit 64 bits of nanoseconds; check the precision";
    /// Text after the timestamp.
    TrailingText => "trailing_text", "text follows the timestamp";
    /// NUL, tab, a lone CR and so on in a name or a tag value, or between tokens.
    ControlCharacter => "control_character", "a control character stands outside a string";
    /// Not UTF-8.
    InvalidUtf8 => "invalid_utf8", "the line is not valid UTF-8";
    /// Longer than the limit.
    LineTooLong => "line_too_long", "the record is longer than the limit (max_line_bytes)";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// What is wrong with a line whose string runs on into `line`, where it turns out that no record goes on.
pub(crate) fn runs_on(reason: Reason, line: Option<u64>) -> String {
    let place = line.map(|line| format!(" on line {line}")).unwrap_or_default();
    format!(
        "the string that begins here is not closed on this line, and what follows{place} is no record: {reason}"
    )
}

/// A place in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Offset in bytes from the start of the input.
    pub byte: u64,
    /// Physical line, from 1.
    pub line: u64,
    /// Column in bytes, from 1.
    pub column: u64,
    /// Number of the record, from 1; blank lines and comments are no records.
    pub record: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A record that was refused: the reason, the place of the fault and the bytes it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError<'a> {
    pub(crate) reason: Reason,
    pub(crate) position: Position,
    pub(crate) raw: &'a [u8],
    pub(crate) later: Option<(Reason, u64)>,
}

impl<'a> LineError<'a> {
    /// Why the record was refused.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Where the fault is (not where the record begins): always on the line of [`raw`](Self::raw).
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The physical line that was given up, without its line end.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Of a string that is not closed on its line: what is wrong on which later line, where the record would go
    /// on. `None` for every other fault, and where the string has no end at all.
    #[must_use]
    pub const fn later(&self) -> Option<(Reason, u64)> {
        self.later
    }
}

impl fmt::Display for LineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.later {
            Some((reason, line)) => write!(f, "{}: {}", self.position, runs_on(reason, Some(line))),
            None => write!(f, "{}: {}", self.position, self.reason),
        }
    }
}

impl std::error::Error for LineError<'_> {}
