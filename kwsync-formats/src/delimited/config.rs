//! The parameters of the formats `csv` and `text`.

use std::sync::Arc;

use kwsync_core::config::{ConnectorInfo, EncoderFactory, Param, Params, Registry};
use kwsync_core::{DataType, Decoder, DecoderFactory, Encoder, Error, Result, TimeUnit};

use super::options::{Columns, DelimitedOptions, Form, Header, Newline};
use super::read::{ReadOptions, Types};
use super::{DelimitedDecoder, DelimitedEncoder};
use crate::Limits;

macro_rules! params {
    ($delimiter:literal, $null:literal $(, $more:expr)* $(,)?) => {
        &[
            Param::text("delimiter", concat!("the byte between fields, or off (default ", $delimiter, "); \\t and \\x01 are understood")),
            Param::text("null", concat!("how a null is written (default ", $null, "); '' is nothing")),
            Param::text("escape", "the byte before a byte that is meant itself, or off (default \\ in text, the quote in csv)"),
            Param::choice("header", &["false", "true", "match"], "whether the first line names the columns; match compares them with columns=")
                .with_default("false"),
            Param::choice("newline", &["auto", "LF", "CR", "CRLF"], "what ends a line; auto is what the first line ends in, and LF when written")
                .with_default("auto"),
            Param::text("encoding", "how text is encoded, by PostgreSQL's name").with_default("UTF8"),
            Param::flag("fill_missing_fields", "fields that a line lacks at its end are null").with_default("false"),
            Param::text("columns", "the columns, as names or as names and types: id, at timestamptz, note varchar(20)"),
            Param::choice("types", &["infer", "text"], "where types come from that columns= does not give: the first 1000 records, or text")
                .with_default("infer"),
            Param::text("table", "the table; default: the file's name"),
            Param::text("time_column", "the column that is the time of a row").with_aliases(&["time"]),
            Param::list("tags", "the columns that are tags"),
            Param::choice("precision", &["s", "ms", "us", "ns"], "what integers in columns of timestamps count").with_default("ns"),
            Param::size("max_record_bytes", "the longest record that is read; a longer one is a reject").with_default("64MiB"),
            $($more,)*
        ]
    };
}

static TEXT: &[Param] = params!("tab", "\\N");
static CSV: &[Param] = params!(
    ",",
    "nothing",
    Param::text("quote", "the byte around fields, or off (default \")"),
    Param::text("force_not_null", "columns whose empty fields are empty texts, not nulls; * is all"),
    Param::text("force_null", "columns where the null text is null in quotes as well; * is all"),
    Param::flag("empty_as_null", "the same as force_null=*").with_default("false"),
    Param::text("force_quote", "columns that are always quoted when written; * is all"),
);

/// A byte as a person writes it: itself, in single quotes, `tab`, `\t`, `\x01`, `\001`, `off`.
fn byte(name: &str, text: &str) -> Result<Option<u8>> {
    let bare = text.strip_prefix(['E', 'e']).filter(|rest| rest.starts_with('\'')).unwrap_or(text);
    let bare = bare.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(bare);
    let escaped = bare.strip_prefix('\\').filter(|rest| !rest.is_empty());
    let number = |digits: &str, radix| u8::from_str_radix(digits, radix).ok();
    let found = match (bare.as_bytes(), escaped) {
        _ if bare.eq_ignore_ascii_case("off") || (bare.is_empty() && !text.is_empty()) => return Ok(None),
        ([byte], _) => Some(*byte),
        (_, Some("t")) => Some(b'\t'),
        (_, Some("\\")) => Some(b'\\'),
        (_, Some(digits)) if digits.starts_with('x') => number(digits.get(1..).unwrap_or(""), 16),
        (_, Some(digits)) if digits.len() == 3 => number(digits, 8),
        _ if bare.eq_ignore_ascii_case("tab") => Some(b'\t'),
        _ => None,
    };
    found.map(Some).ok_or_else(|| {
        Error::config(format!("{name} is {text:?}"))
            .with_hint("give one character, tab, \\t, a number as \\x01 or \\001, or off")
    })
}

fn options(form: Form, params: &Params) -> Result<DelimitedOptions> {
    let mut options = if form == Form::Csv { DelimitedOptions::csv() } else { DelimitedOptions::text() };
    if let Some(text) = params.text("delimiter") {
        options = options.with_delimiter(byte("delimiter", text)?);
    }
    if form == Form::Csv {
        if let Some(text) = params.text("quote") {
            options = options.with_quote(byte("quote", text)?);
        }
        let columns = |name| params.text(name).map_or(Columns::None, Columns::parse);
        let force_null = if params.flag("empty_as_null") { Columns::All } else { columns("force_null") };
        options = options
            .with_force_not_null(columns("force_not_null"))
            .with_force_null(force_null)
            .with_force_quote(columns("force_quote"));
    }
    if let Some(text) = params.text("escape") {
        options = options.with_escape(byte("escape", text)?);
    }
    if let Some(text) = params.text("null") {
        let bare = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        options = options.with_null(bare.unwrap_or(text));
    }
    if let Some(encoding) = params.text("encoding") {
        options = options.with_encoding(encoding)?;
    }
    let header = match params.choice("header") {
        Some("true") => Header::Names,
        Some("match") => Header::Match,
        _ => Header::None,
    };
    let newline = match params.choice("newline") {
        Some("LF") => Newline::Lf,
        Some("CR") => Newline::Cr,
        Some("CRLF") => Newline::CrLf,
        _ => Newline::Auto,
    };
    options
        .with_header(header)
        .with_newline(newline)
        .with_fill_missing_fields(params.flag("fill_missing_fields"))
        .check()
}

/// `id, at timestamptz(us), "a name" varchar(20)`: names and types.
fn columns(list: &str) -> Result<Vec<(String, Option<DataType>)>> {
    let mut all: Vec<(String, Option<DataType>)> = Vec::new();
    for entry in split_outside(list) {
        let entry = entry.trim();
        let (name, rest) = match entry.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            Some((name, rest)) => (name, rest),
            None => entry.split_once(char::is_whitespace).unwrap_or((entry, "")),
        };
        if name.is_empty() {
            return Err(Error::config(format!("columns has an empty name in {list:?}")));
        }
        if all.iter().any(|(other, _)| other == name) {
            return Err(Error::config(format!("columns has {name:?} twice")));
        }
        let data_type = match rest.trim() {
            "" => None,
            text => Some(text.parse().map_err(|error: Error| error.context(format!("columns, {name:?}")))?),
        };
        all.push((name.to_owned(), data_type));
    }
    Ok(all)
}

/// Cuts at commas outside quotes and brackets.
fn split_outside(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, letter) in list.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.extend(list.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(list.get(start..));
    parts
}

fn read_options(params: &Params) -> Result<ReadOptions> {
    let limit = params.size("max_record_bytes").and_then(|bytes| usize::try_from(bytes).ok());
    let limits = limit.map_or_else(Limits::new, |bytes| Limits::new().with_max_record_bytes(bytes));
    let unit = match params.choice("precision") {
        Some("s") => TimeUnit::Second,
        Some("ms") => TimeUnit::Millisecond,
        Some("us") => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    };
    let types = if params.choice("types") == Some("text") { Types::Text } else { Types::Infer };
    let mut read = ReadOptions::new().with_limits(limits).with_precision(unit).with_types(types);
    if let Some(table) = params.text("table") {
        read = read.with_table(table);
    }
    if let Some(column) = params.text("time_column") {
        read = read.with_time(column);
    }
    for tag in params.list("tags") {
        read = read.with_tag(tag);
    }
    for (name, data_type) in params.text("columns").map_or(Ok(Vec::new()), columns)? {
        read = read.with_column(name, data_type);
    }
    Ok(read)
}

pub(crate) fn register(registry: &mut Registry) {
    let text = ConnectorInfo::format("text", "PostgreSQL's TEXT: tabs, backslashes, \\N")
        .with_aliases(&["tsv"])
        .with_params(TEXT);
    let csv = ConnectorInfo::format("csv", "PostgreSQL's CSV").with_params(CSV);
    for (info, form) in [(text, Form::Text), (csv, Form::Csv)] {
        registry.register_decoder(info, move |request| {
            let (options, read) = (options(form, request.params)?, read_options(request.params)?);
            let schemas = Arc::clone(request.schemas);
            DelimitedDecoder::new(options.clone(), read.clone())?;
            let make: DecoderFactory = Arc::new(move || {
                let decoder = DelimitedDecoder::new(options.clone(), read.clone())?;
                Ok(Box::new(decoder.with_registry(Arc::clone(&schemas))) as Box<dyn Decoder>)
            });
            Ok(make)
        });
        registry.register_encoder(info, move |request| {
            let options = options(form, request.params)?;
            let make: EncoderFactory =
                Arc::new(move || Ok(Box::new(DelimitedEncoder::new(options.clone())?) as Box<dyn Encoder>));
            Ok(make)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{byte, columns};

    #[test]
    fn bytes_as_people_write_them() {
        for (text, expected) in [
            (",", Some(b',')),
            ("tab", Some(b'\t')),
            ("\\t", Some(b'\t')),
            ("\\x01", Some(1)),
            ("\\001", Some(1)),
            ("E'\\x01'", Some(1)),
            ("' '", Some(b' ')),
            ("\\", Some(b'\\')),
            ("\\\\", Some(b'\\')),
            ("off", None),
            ("OFF", None),
            ("''", None),
        ] {
            assert_eq!(byte("delimiter", text).unwrap(), expected, "{text}");
        }
        assert!(byte("delimiter", "ab").is_err());
        assert!(byte("delimiter", "\\x1ff").is_err());
    }

    #[test]
    fn columns_and_types() {
        let shown: Vec<String> = columns("id, at timestamptz(us),\"a, b\" numeric(10,2)")
            .unwrap()
            .into_iter()
            .map(|(name, data_type)| format!("{name}:{}", data_type.map_or(String::new(), |t| t.to_string())))
            .collect();
        assert_eq!(shown, ["id:", "at:timestamptz(us)", "a, b:numeric(10,2)"]);
        assert!(columns("a,a").is_err());
        assert!(columns("a,,b").is_err());
        assert!(columns("a nonsense").is_err());
    }
}
