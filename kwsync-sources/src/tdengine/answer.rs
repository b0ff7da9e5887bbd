//! Rows out of an answer as it comes.

use bytes::{Buf, BytesMut};
use kwsync_core::system::http::Answer;
use kwsync_core::system::tdengine::Session;
use kwsync_core::{Error, ErrorKind, Result};
use serde::Deserialize;

/// The most bytes of what stands before the rows, and of a row; those of a server are below 64 KiB, with escapes a few times as much.
const MOST_BYTES: usize = 16 << 20;

/// `{"code":0,"column_meta":[...],"data":[` comes before the rows, and `],"rows":N}` behind them.
const DATA: &[u8] = b",\"data\":[";

#[derive(Deserialize)]
struct Refused {
    code: i64,
    #[serde(default)]
    desc: String,
}

/// Where a row ends, as far as has been looked.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    at: usize,
    depth: usize,
    text: bool,
    escaped: bool,
}

impl Scan {
    /// Looks on; the place behind the end of the row, if it is there.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(byte) = bytes.get(self.at) {
            if self.text {
                if self.escaped {
                    self.escaped = false;
                    self.at += 1;
                    continue;
                }
                let rest = bytes.get(self.at..).unwrap_or_default();
                match memchr::memchr2(b'"', b'\\', rest) {
                    Some(found) => {
                        self.at += found + 1;
                        match rest.get(found) {
                            Some(b'"') => self.text = false,
                            _ => self.escaped = true,
                        }
                    }
                    None => self.at = bytes.len(),
                }
                continue;
            }
            self.at += 1;
            match byte {
                b'"' => self.text = true,
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(self.at);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// The rows of an answer, each as JSON between its brackets.
#[derive(Debug)]
pub(super) struct RowStream {
    answer: Answer,
    buffer: BytesMut,
    scan: Scan,
    /// Bytes of the row that was given last.
    given: usize,
    rows: u64,
}

impl RowStream {
    /// Asks.
    ///
    /// # Errors
    /// What the server refuses, and where it does not answer.
    pub(super) async fn open(session: &mut Session, sql: String) -> Result<Self> {
        let answer = session.ask(sql).await?;
        let mut stream = Self { answer, buffer: BytesMut::new(), scan: Scan::default(), given: 0, rows: 0 };
        loop {
            if let Some(at) = memchr::memmem::find(&stream.buffer, DATA) {
                stream.buffer.advance(at + DATA.len());
                return Ok(stream);
            }
            if !stream.more().await? {
                break;
            }
        }
        // No rows: a refusal.
        match serde_json::from_slice::<Refused>(&stream.buffer) {
            Ok(refused) if refused.code != 0 => Err(session.refusal(refused.code, &refused.desc)),
            _ => Err(unreadable()),
        }
    }

    async fn more(&mut self) -> Result<bool> {
        if self.buffer.len() > MOST_BYTES {
            let text = format!("the server sent a row of more than {MOST_BYTES} bytes");
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        match self.answer.chunk().await? {
            Some(chunk) => {
                self.buffer.extend_from_slice(&chunk);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// The next row, without its brackets; none when all rows have come.
    ///
    /// # Errors
    /// `Unavailable` where the answer breaks off, `Protocol` for what is none.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>> {
        self.buffer.advance(self.given);
        self.given = 0;
        loop {
            let skipped = self
                .buffer
                .iter()
                .take_while(|byte| matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t'))
                .count();
            self.buffer.advance(skipped);
            match self.buffer.first().copied() {
                Some(b'[') => break,
                Some(b']') => return self.finish().await,
                Some(_) => return Err(unreadable()),
                None if self.more().await? => {}
                None => return Err(ended()),
            }
        }
        self.scan = Scan::default();
        loop {
            if let Some(end) = self.scan.end(&self.buffer) {
                self.given = end;
                self.rows += 1;
                return Ok(self.buffer.get(1..end - 1));
            }
            if !self.more().await? {
                return Err(ended());
            }
        }
    }

    /// What stands behind the rows.
    async fn finish(&mut self) -> Result<Option<&[u8]>> {
        while self.more().await? {}
        let text = String::from_utf8_lossy(&self.buffer);
        let Some((_, behind)) = text.split_once("\"rows\":") else { return Err(ended()) };
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        match behind.get(..end).and_then(|digits| digits.parse::<u64>().ok()) {
            Some(rows) if rows == self.rows => Ok(None),
            _ => Err(unreadable()),
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the server ended its answer early")
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Protocol, "the server sent rows in a form that cannot be read")
        .with_hint("check host and port, and that it is a taosAdapter of TDengine 3")
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    /// Digits.
    Number(&'a [u8]),
    /// What stands between quotes, and whether it has escapes.
    Text(&'a [u8], bool),
    /// An object or a list, as it stands there.
    Json(&'a [u8]),
}

/// Takes the next value off a row; none at its end.
///
/// # Errors
/// `Protocol` for what is no JSON.
pub(super) fn cell<'a>(rest: &mut &'a [u8]) -> Result<Option<Cell<'a>>> {
    let skipped = rest.iter().take_while(|byte| matches!(byte, b',' | b' ')).count();
    *rest = rest.get(skipped..).unwrap_or_default();
    let Some(first) = rest.first() else { return Ok(None) };
    let (cell, length) = match first {
        b'"' => {
            let (mut at, mut escapes) = (1, false);
            loop {
                let tail = rest.get(at..).unwrap_or_default();
                let found = memchr::memchr2(b'"', b'\\', tail).ok_or_else(unreadable)?;
                if tail.get(found) == Some(&b'"') {
                    at += found;
                    break;
                }
                escapes = true;
                at += found + 2;
            }
            (Cell::Text(rest.get(1..at).unwrap_or_default(), escapes), at + 1)
        }
        b'[' | b'{' => {
            let end = Scan::default().end(rest).ok_or_else(unreadable)?;
            (Cell::Json(rest.get(..end).unwrap_or_default()), end)
        }
        _ => {
            let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
            let word = rest.get(..end).unwrap_or_default();
            let cell = match word {
                b"null" => Cell::Null,
                b"true" => Cell::Bool(true),
                b"false" => Cell::Bool(false),
                [b'-' | b'0'..=b'9', ..] => Cell::Number(word),
                _ => return Err(unreadable()),
            };
            (cell, end)
        }
    };
    *rest = rest.get(length..).unwrap_or_default();
    Ok(Some(cell))
}

/// A text between quotes, without its escapes; none for one that is no UTF-8.
pub(super) fn unescaped(text: &[u8], escapes: bool) -> Option<std::borrow::Cow<'_, str>> {
    if !escapes {
        return std::str::from_utf8(text).ok().map(Into::into);
    }
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(text);
    quoted.push(b'"');
    serde_json::from_slice::<String>(&quoted).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes costs an error, and no panic; every byte is looked at once.
        #[test]
        fn hostile_rows_are_faults(row in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"\"\\[]{},:nulltrue-1.e".to_vec())], 0..64,
        )) {
            let mut rest = row.as_slice();
            let mut left = rest.len() + 1;
            while let Ok(Some(found)) = cell(&mut rest) {
                prop_assert!(rest.len() < left);
                left = rest.len();
                if let Cell::Text(text, escapes) = found {
                    drop(unescaped(text, escapes));
                }
            }
            let whole = Scan::default().end(&row);
            let mut scan = Scan::default();
            let pieces = (0..=row.len()).find_map(|cut| scan.end(row.get(..cut)?));
            prop_assert_eq!(whole, pieces);
        }
    }

    fn cells(row: &str) -> Result<Vec<Cell<'_>>> {
        let mut rest = row.as_bytes();
        let mut found = Vec::new();
        while let Some(next) = cell(&mut rest)? {
            found.push(next);
        }
        Ok(found)
    }

    #[test]
    fn rows_come_apart() {
        assert_eq!(
            cells(r#""a,b",null,-1.5e3,true,false,{"k":[1,"]}"]},"\"x\\",18446744073709551615"#).unwrap(),
            [
                Cell::Text(b"a,b", false),
                Cell::Null,
                Cell::Number(b"-1.5e3"),
                Cell::Bool(true),
                Cell::Bool(false),
                Cell::Json(br#"{"k":[1,"]}"]}"#),
                Cell::Text(br#"\"x\\"#, true),
                Cell::Number(b"18446744073709551615"),
            ]
        );
        assert_eq!(cells("").unwrap(), []);
        for wrong in ["\"a", "nul", "{", "x", "\"a\\"] {
            assert!(cells(wrong).is_err(), "{wrong}");
        }
        assert_eq!(unescaped(br#"\"x\\ \u00e4\ud83d\ude00\n"#, true).as_deref(), Some("\"x\\ ä😀\n"));
        assert_eq!(unescaped(b"\xff", false), None);
        assert_eq!(unescaped(b"\\u12", true), None);
    }

    #[test]
    fn the_end_of_a_row_is_found_however_it_is_cut() {
        let row = br#"["]\\\"[",{"a":["]"]},1],[2]"#;
        let whole = Scan::default().end(row).unwrap();
        assert_eq!(row.get(whole..), Some(&b",[2]"[..]));
        for cut in 0..whole {
            let mut scan = Scan::default();
            assert_eq!(scan.end(&row[..cut]), None, "{cut}");
            assert_eq!(scan.end(row), Some(whole), "{cut}");
        }
    }
}
