//! COPY's options, and the rules that PostgreSQL and Greenplum have for them.

use kwsync_core::{Error, Result};

use super::charset::Charset;

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// PostgreSQL's TEXT: a delimiter, backslash escapes, `\N` for null.
    Text,
    /// PostgreSQL's CSV: a delimiter, quotes, an empty unquoted field for null.
    Csv,
}

/// What the first line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Header {
    /// A row like any other.
    #[default]
    None,
    /// The names of the columns.
    Names,
    /// The names of the columns, which must be those expected, in their order.
    Match,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Newline {
    /// Read: what the first line ends in. Written: a line feed.
    #[default]
    Auto,
    /// A line feed.
    Lf,
    /// A carriage return.
    Cr,
    /// Both.
    CrLf,
}

/// Some columns, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Columns {
    /// None of them.
    #[default]
    None,
    /// `*`
    All,
    /// These.
    Named(Vec<String>),
}

impl Columns {
    /// Whether `name` is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|own| own == name),
        }
    }

    /// `*` or names with commas between them; a name with a comma stands in double quotes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "" => Self::None,
            "*" => Self::All,
            list => Self::Named(split_names(list)),
        }
    }
}

/// Names with commas between them; one in double quotes may hold a comma, and a quote twice.
pub(crate) fn split_names(list: &str) -> Vec<String> {
    let (mut names, mut name, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                name.push('"');
                letters.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name).trim().to_owned()),
            other => name.push(other),
        }
    }
    names.push(name.trim().to_owned());
    names
}

/// The options of COPY for TEXT and CSV.
///
/// They mean what PostgreSQL's documentation of COPY says. `ESCAPE OFF`, `DELIMITER OFF`, `NEWLINE` and
/// `FILL MISSING FIELDS` are Greenplum's.
///
/// # Examples
/// ```
/// use kwsync_formats::delimited::DelimitedOptions;
/// let options = DelimitedOptions::csv().with_delimiter(Some(b';')).with_null("NULL").check()?;
/// let error = DelimitedOptions::csv().with_delimiter(Some(b'"')).check().unwrap_err();
/// assert_eq!(error.message(), "the delimiter and the quote are both '\"'");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelimitedOptions {
    pub(super) form: Form,
    pub(super) delimiter: Option<u8>,
    pub(super) null: String,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    pub(super) header: Header,
    pub(super) newline: Newline,
    pub(super) force_not_null: Columns,
    pub(super) force_null: Columns,
    pub(super) force_quote: Columns,
    pub(super) fill_missing_fields: bool,
    pub(super) charset: Charset,
}

impl DelimitedOptions {
    /// TEXT with PostgreSQL's defaults: tab, `\N`, backslash.
    #[must_use]
    pub fn text() -> Self {
        Self {
            form: Form::Text,
            delimiter: Some(b'\t'),
            null: "\\N".to_owned(),
            quote: None,
            escape: Some(b'\\'),
            header: Header::None,
            newline: Newline::Auto,
            force_not_null: Columns::None,
            force_null: Columns::None,
            force_quote: Columns::None,
            fill_missing_fields: false,
            charset: Charset::Utf8,
        }
    }

    /// CSV with PostgreSQL's defaults: comma, nothing, double quotes that are doubled inside.
    #[must_use]
    pub fn csv() -> Self {
        Self {
            form: Form::Csv,
            delimiter: Some(b','),
            null: String::new(),
            quote: Some(b'"'),
            escape: Some(b'"'),
            ..Self::text()
        }
    }

    /// Which of the two formats.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// DELIMITER; `None` is `OFF`: a line is one field.
    #[must_use]
    pub const fn with_delimiter(mut self, delimiter: Option<u8>) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// NULL: how a null is written.
    #[must_use]
    pub fn with_null(mut self, null: impl Into<String>) -> Self {
        self.null = null.into();
        self
    }

    /// QUOTE of CSV, and ESCAPE with it where that was the same; `None` is no quoting.
    #[must_use]
    pub fn with_quote(mut self, quote: Option<u8>) -> Self {
        if self.escape == self.quote {
            self.escape = quote;
        }
        self.quote = quote;
        self
    }

    /// ESCAPE; `None` is `OFF`: nothing is escaped.
    #[must_use]
    pub const fn with_escape(mut self, escape: Option<u8>) -> Self {
        self.escape = escape;
        self
    }

    /// HEADER.
    #[must_use]
    pub const fn with_header(mut self, header: Header) -> Self {
        self.header = header;
        self
    }

    /// NEWLINE.
    #[must_use]
    pub const fn with_newline(mut self, newline: Newline) -> Self {
        self.newline = newline;
        self
    }

    /// FORCE NOT NULL: columns of CSV whose fields are never null when read.
    #[must_use]
    pub fn with_force_not_null(mut self, columns: Columns) -> Self {
        self.force_not_null = columns;
        self
    }

    /// FORCE NULL: columns of CSV where the null text is null in quotes as well when read.
    #[must_use]
    pub fn with_force_null(mut self, columns: Columns) -> Self {
        self.force_null = columns;
        self
    }

    /// FORCE QUOTE: columns of CSV whose values are always quoted when written; nulls never are.
    #[must_use]
    pub fn with_force_quote(mut self, columns: Columns) -> Self {
        self.force_quote = columns;
        self
    }

    /// FILL MISSING FIELDS: fields that a line lacks at its end are null. Without it such a line is refused.
    #[must_use]
    pub const fn with_fill_missing_fields(mut self, fill: bool) -> Self {
        self.fill_missing_fields = fill;
        self
    }

    /// ENCODING, by PostgreSQL's name or the usual one (`LATIN1`, `GBK`, `shift_jis` ...).
    ///
    /// # Errors
    /// `Config` when the name is unknown.
    pub fn with_encoding(mut self, name: &str) -> Result<Self> {
        self.charset = Charset::of(name)?;
        Ok(self)
    }

    /// Checks the options against each other.
    ///
    /// # Errors
    /// `Config`, with the two that do not go together.
    pub fn check(self) -> Result<Self> {
        let shown = |byte: u8| format!("{:?}", char::from(byte));
        let fault = |text: String| Err(Error::config(text));
        for (what, byte) in [("delimiter", self.delimiter), ("quote", self.quote), ("escape", self.escape)] {
            if let Some(byte @ (b'\n' | b'\r' | 0 | 0x80..)) = byte {
                let text = format!("the {what} is one byte of ASCII and no line end, not {}", shown(byte));
                return fault(text);
            }
        }
        if self.null.contains(['\n', '\r', '\0']) {
            return fault("the text for null may not hold a line end or NUL".to_owned());
        }
        if let Some(delimiter) = self.delimiter {
            if self.form == Form::Text
                && (delimiter == b'\\'
                    || delimiter == b'.'
                    || delimiter.is_ascii_alphanumeric() && !delimiter.is_ascii_uppercase())
            {
                return fault(format!("TEXT cannot have {} as its delimiter", shown(delimiter)));
            }
            if self.quote == Some(delimiter) {
                return fault(format!("the delimiter and the quote are both {}", shown(delimiter)));
            }
            if self.form == Form::Text && self.escape == Some(delimiter) {
                return fault(format!("the delimiter and the escape are both {}", shown(delimiter)));
            }
            if self.null.as_bytes().contains(&delimiter) {
                return fault(format!("the text for null holds the delimiter {}", shown(delimiter)));
            }
        }
        match (self.form, self.quote) {
            (Form::Csv, Some(quote)) if self.null.as_bytes().contains(&quote) => {
                fault(format!("the text for null holds the quote {}", shown(quote)))
            }
            (Form::Text, Some(_)) => {
                fault("TEXT has no quotes; use the format csv, or leave quote= out".to_owned())
            }
            (Form::Text, None) if self.forced() => {
                fault("force_quote, force_not_null and force_null are for CSV".to_owned())
            }
            _ => Ok(self),
        }
    }

    fn forced(&self) -> bool {
        [&self.force_quote, &self.force_not_null, &self.force_null].into_iter().any(|c| *c != Columns::None)
    }

    /// What ends a line that is written.
    pub(super) const fn line_end(&self) -> &'static [u8] {
        match self.newline {
            Newline::Auto | Newline::Lf => b"\n",
            Newline::Cr => b"\r",
            Newline::CrLf => b"\r\n",
        }
    }
}
