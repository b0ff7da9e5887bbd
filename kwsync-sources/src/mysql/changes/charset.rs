//! Text in the character set of its column, as UTF-8.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use encoding_rs::Encoding;
use kwsync_core::system::mysql::binlog::Query;
use kwsync_core::system::mysql::session::error;
use kwsync_core::{Error, ErrorKind, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::mysql::config::MysqlSourceOptions;

/// A character set.
#[derive(Debug)]
pub(super) enum Charset {
    /// Bytes that are none.
    Binary,
    Utf8,
    /// What the server makes of each byte, and of two or three where one does not do.
    Table {
        single: Vec<String>,
        more: HashMap<u32, char>,
    },
    Utf16 {
        little: bool,
    },
    Utf32,
    Other(&'static Encoding),
}

impl Charset {
    /// Writes a text as UTF-8. What it cannot mean becomes a question mark, as the server has it.
    pub(super) fn write(&self, text: &[u8], to: &mut Vec<u8>) {
        match self {
            Self::Binary | Self::Utf8 => to.extend_from_slice(text),
            Self::Table { single, more } => {
                let mut rest = text;
                while let Some((first, behind)) = rest.split_first() {
                    let known = single.get(usize::from(*first)).map_or("", String::as_str);
                    if !known.is_empty() {
                        to.extend_from_slice(known.as_bytes());
                        rest = behind;
                        continue;
                    }
                    let found = [2, 3].into_iter().find_map(|length| {
                        let (own, behind) = rest.split_at_checked(length)?;
                        let code = own.iter().fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
                        Some((*more.get(&code)?, behind))
                    });
                    let (c, behind) = found.unwrap_or(('?', behind));
                    put(c, to);
                    rest = behind;
                }
            }
            Self::Utf16 { little } => {
                let units = text.chunks_exact(2).map(|unit| match (unit, little) {
                    (&[a, b], true) => u16::from_le_bytes([a, b]),
                    (&[a, b], false) => u16::from_be_bytes([a, b]),
                    _ => 0,
                });
                char::decode_utf16(units).for_each(|c| put(c.unwrap_or('?'), to));
            }
            Self::Utf32 => text.chunks_exact(4).for_each(|unit| {
                let number = unit.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
                put(char::from_u32(number).unwrap_or('?'), to);
            }),
            Self::Other(encoding) => {
                let (decoded, _) = encoding.decode_without_bom_handling(text);
                decoded.chars().for_each(|c| put(if c == '\u{fffd}' { '?' } else { c }, to));
            }
        }
    }

    /// The same of a short text, such as a value of an enum.
    pub(super) fn text(&self, text: &[u8]) -> String {
        let mut made = Vec::new();
        self.write(text, &mut made);
        String::from_utf8_lossy(&made).into_owned()
    }
}

fn put(c: char, to: &mut Vec<u8>) {
    to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The character sets of a server.
#[derive(Debug, Default)]
pub(super) struct Charsets {
    /// Names by the numbers of collations.
    collations: HashMap<u16, String>,
    /// The most bytes of a character.
    widths: HashMap<String, usize>,
    known: HashMap<String, Arc<Charset>>,
}

impl Charsets {
    pub(super) async fn look(session: &mut Conn) -> Result<Self> {
        let mut made = Self::default();
        // MariaDB has collations that belong to several sets in this table alone; MySQL's has no numbers.
        for sql in [
            "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL",
            "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL",
        ] {
            let rows: Vec<(u16, String)> = session.query(sql).await.unwrap_or_default();
            made.collations.extend(rows);
        }
        let sql = "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS";
        let rows: Vec<(String, usize)> = session.query(sql).await.map_err(error)?;
        made.widths.extend(rows);
        Ok(made)
    }

    /// The name of the set of a collation.
    pub(super) fn of_collation(&self, collation: u16) -> Option<&str> {
        self.collations.get(&collation).map(String::as_str)
    }

    /// The most bytes of a character.
    pub(super) fn width(&self, name: &str) -> usize {
        self.widths.get(name).copied().unwrap_or(4)
    }

    /// A statement as UTF-8; none where nobody can tell what its bytes mean.
    pub(super) async fn sql<'a>(
        &mut self,
        options: &MysqlSourceOptions,
        query: &Query<'a>,
    ) -> Result<Option<Cow<'a, [u8]>>> {
        let sql = query.sql.clone();
        if sql.is_ascii() {
            return Ok(Some(sql));
        }
        let is_utf8 = std::str::from_utf8(&sql).is_ok();
        let name = query.charset.and_then(|collation| self.of_collation(collation)).map(str::to_owned);
        let Some(name) =
            name.filter(|name| !matches!(name.as_str(), "binary" | "ascii") && !name.starts_with("utf8"))
        else {
            return Ok(is_utf8.then_some(sql));
        };
        // What the server wrote itself is UTF-8, whatever the client spoke; text of one byte for each character hardly ever looks like it.
        if is_utf8 && (self.width(&name) == 1 || sql.ends_with(b"/* generated by server */")) {
            return Ok(Some(sql));
        }
        let charset = match self.known.get(&name) {
            Some(known) => Arc::clone(known),
            None => {
                let mut session = options.connect.connect().await?;
                let charset = self.get(&mut session, &name).await?;
                drop(session.disconnect().await);
                charset
            }
        };
        let mut made = Vec::new();
        charset.write(&sql, &mut made);
        Ok(Some(Cow::Owned(made)))
    }

    /// A set by its name; the server is asked what the bytes of one mean of which nobody else can tell.
    pub(super) async fn get(&mut self, session: &mut Conn, name: &str) -> Result<Arc<Charset>> {
        if let Some(known) = self.known.get(name) {
            return Ok(Arc::clone(known));
        }
        let made = match name {
            "binary" => Charset::Binary,
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Charset::Utf8,
            "ucs2" | "utf16" => Charset::Utf16 { little: false },
            "utf16le" => Charset::Utf16 { little: true },
            "utf32" => Charset::Utf32,
            // Of MySQL alone, and of four bytes.
            "gb18030" => Charset::Other(encoding_rs::GB18030),
            _ if self.width(name) <= 3 => table(session, name, self.width(name)).await?,
            _ => {
                let text = format!("text in the character set {name} of the server is not read here");
                return Err(Error::new(ErrorKind::Unsupported, text)
                    .with_hint("leave its table out with exclude=, or convert its columns to utf8mb4"));
            }
        };
        let made = Arc::new(made);
        self.known.insert(name.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

/// What the server makes of the characters of a set: nobody else's table has all of them as it has.
async fn table(session: &mut Conn, name: &str, width: usize) -> Result<Charset> {
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Error::new(ErrorKind::Protocol, format!("{name:?} is no name of a character set")));
    }
    let digits = |called: &str| {
        let each: Vec<String> = (0..16).map(|digit| format!("SELECT {digit} AS {called}")).collect();
        format!("({}) AS of_{called}", each.join(" UNION ALL "))
    };
    let byte = |high: &str, low: &str| format!("{} JOIN {}", digits(high), digits(low));
    let made = |code: &str| format!("CONVERT(CONVERT(CHAR({code}) USING {name}) USING utf8mb4)");
    let one = "a * 16 + b";
    let sql = format!("SELECT {one}, COALESCE(HEX({}), '') FROM {}", made(one), byte("a", "b"));
    let rows: Vec<(u32, String)> = session.query(sql).await.map_err(error)?;
    let mut single = vec![String::new(); 256];
    for (code, hex) in rows {
        let text = unhex(&hex);
        // A question mark is what has no meaning, save for the question mark.
        let known = width == 1 || code == 0x3f || text != "?";
        if let Some(own) = single.get_mut(code as usize).filter(|_| known) {
            *own = text;
        }
    }
    let mut more = HashMap::new();
    let prefixes: &[u32] = if width == 3 { &[0, 0x8f_0000] } else { &[0] };
    for prefix in prefixes.iter().filter(|_| width > 1) {
        let two = format!("{prefix} + ((a * 16 + b) * 16 + c) * 16 + d");
        let sql = format!(
            "SELECT code, made FROM (SELECT {two} AS code, HEX({}) AS made FROM {} JOIN {} WHERE a >= 8) AS of_all \
             WHERE made IS NOT NULL AND made NOT IN ('', '3F')",
            made(&two),
            byte("a", "b"),
            byte("c", "d"),
        );
        let rows: Vec<(u32, String)> = session.query(sql).await.map_err(error)?;
        for (code, hex) in rows {
            let text = unhex(&hex);
            let mut chars = text.chars();
            // Where it is more than one, the first byte is a character by itself.
            if let (Some(c), None) = (chars.next(), chars.next()) {
                more.insert(code, c);
            }
        }
    }
    Ok(Charset::Table { single, more })
}

fn unhex(hex: &str) -> String {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .filter_map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_several_sets() {
        for (charset, bytes, text) in [
            (Charset::Utf16 { little: false }, &[0x00, 0x61, 0xd8, 0x3d, 0xde, 0x00][..], "a\u{1f600}"),
            (Charset::Utf16 { little: true }, &[0x61, 0x00, 0x00, 0xd8], "a?"),
            (Charset::Utf32, &[0, 1, 0xf6, 0, 0, 0x11, 0, 0], "\u{1f600}?"),
            (Charset::Other(encoding_rs::GB18030), &[0xd6, 0xd0, 0x41], "中A"),
            (
                Charset::Table {
                    single: (0..=255)
                        .map(|b| if b < 128 { char::from(b).to_string() } else { String::new() })
                        .collect(),
                    more: HashMap::from([(0xb0a1, '啊'), (0x8f_b0a1, '丂')]),
                },
                &[0x41, 0xb0, 0xa1, 0x8f, 0xb0, 0xa1, 0xff, 0x42, 0xb0],
                "A啊丂?B?",
            ),
            (Charset::Utf8, "ü".as_bytes(), "ü"),
        ] {
            assert_eq!(charset.text(bytes), text);
        }
    }
}
