//! JSON as MySQL keeps it, as the text that MySQL makes of it.

use super::bytes::Bytes;
use super::table_map::kind;
use super::value::write_decimal;

/// What MySQL nests at most, and some.
const DEPTH: usize = 128;

/// Writes the text of a value, as the server prints it: a blank behind colons and commas, floats with a point or an exponent.
///
/// Returns whether the bytes are such a value; what was written is of no use then.
pub fn write_json(bytes: &[u8], to: &mut Vec<u8>) -> bool {
    let Some((kind, value)) = bytes.split_first() else {
        // What a server that is not strict puts into a column that may not be null.
        to.extend_from_slice(b"null");
        return true;
    };
    // Parts may be referred to twice by who means ill; no server does so.
    let most = to.len() + 32 * bytes.len() + 1024;
    Writer { to, most }.value(*kind, value, 0).is_some()
}

struct Writer<'a> {
    to: &'a mut Vec<u8>,
    most: usize,
}

impl Writer<'_> {
    fn put(&mut self, text: &[u8]) -> Option<()> {
        if self.to.len() + text.len() > self.most {
            return None;
        }
        self.to.extend_from_slice(text);
        Some(())
    }

    fn value(&mut self, kind: u8, bytes: &[u8], depth: usize) -> Option<()> {
        if depth > DEPTH {
            return None;
        }
        let mut rest = Bytes(bytes);
        match kind {
            0..=3 => self.container(bytes, kind < 2, kind & 1 != 0, depth),
            4 => self.put(match rest.u8()? {
                0 => b"null",
                1 => b"true",
                2 => b"false",
                _ => return None,
            }),
            5 => self.put((rest.u16()? as i16).to_string().as_bytes()),
            6 => self.put(rest.u16()?.to_string().as_bytes()),
            7 => self.put((rest.u32()? as i32).to_string().as_bytes()),
            8 => self.put(rest.u32()?.to_string().as_bytes()),
            9 => self.put((rest.u64()? as i64).to_string().as_bytes()),
            10 => self.put(rest.u64()?.to_string().as_bytes()),
            11 => {
                let mut text = double(f64::from_le_bytes(rest.array()?));
                if !text.contains(['.', 'e']) {
                    text.push_str(".0");
                }
                self.put(text.as_bytes())
            }
            12 => {
                let length = varint(&mut rest)?;
                self.string(rest.take(length)?)
            }
            15 => {
                let kind = rest.u8()?;
                let length = varint(&mut rest)?;
                self.opaque(kind, rest.take(length)?)
            }
            _ => None,
        }
    }

    fn container(&mut self, bytes: &[u8], object: bool, large: bool, depth: usize) -> Option<()> {
        let width = if large { 4 } else { 2 };
        let mut rest = Bytes(bytes);
        let (count, size) = (rest.little(width)? as usize, rest.little(width)? as usize);
        let bytes = bytes.get(..size)?;
        let mut keys = if object { Bytes(rest.take(count.checked_mul(width + 2)?)?) } else { Bytes(&[]) };
        let mut values = Bytes(rest.take(count.checked_mul(width + 1)?)?);
        self.put(if object { b"{" } else { b"[" })?;
        for at in 0..count {
            if at > 0 {
                self.put(b", ")?;
            }
            if object {
                let (offset, length) = (keys.little(width)? as usize, usize::from(keys.u16()?));
                self.string(bytes.get(offset..)?.get(..length)?)?;
                self.put(b": ")?;
            }
            let kind = values.u8()?;
            let own = values.take(width)?;
            // What is small lies where others have their offset.
            if matches!(kind, 4..=6) || (large && matches!(kind, 7 | 8)) {
                self.value(kind, own, depth + 1)?;
            } else {
                let offset = Bytes(own).little(width)? as usize;
                self.value(kind, bytes.get(offset..)?, depth + 1)?;
            }
        }
        self.put(if object { b"}" } else { b"]" })
    }

    fn string(&mut self, text: &[u8]) -> Option<()> {
        std::str::from_utf8(text).ok()?;
        self.put(b"\"")?;
        for byte in text {
            match byte {
                b'"' => self.put(b"\\\"")?,
                b'\\' => self.put(b"\\\\")?,
                0x08 => self.put(b"\\b")?,
                0x0c => self.put(b"\\f")?,
                b'\n' => self.put(b"\\n")?,
                b'\r' => self.put(b"\\r")?,
                b'\t' => self.put(b"\\t")?,
                0..=0x1f => self.put(format!("\\u{byte:04x}").as_bytes())?,
                _ => self.put(std::slice::from_ref(byte))?,
            }
        }
        self.put(b"\"")
    }

    /// Values of SQL that JSON has not.
    fn opaque(&mut self, kind: u8, bytes: &[u8]) -> Option<()> {
        let mut rest = Bytes(bytes);
        match kind {
            kind::NEWDECIMAL => {
                let meta = u16::from_be_bytes(rest.array()?);
                let mut text = Vec::new();
                if !write_decimal(rest.0, meta, &mut text) {
                    return None;
                }
                self.put(&text)
            }
            kind::DATE | kind::NEWDATE | kind::DATETIME | kind::TIMESTAMP => {
                let packed = rest.u64()?;
                let (micros, whole) = (packed & 0xff_ffff, packed >> 24);
                let months = whole >> 22 & 0x3_ffff;
                let date = format!("{:04}-{:02}-{:02}", months / 13, months % 13, whole >> 17 & 31);
                let clock =
                    format!(" {:02}:{:02}:{:02}.{micros:06}", whole >> 12 & 31, whole >> 6 & 63, whole & 63);
                let text = if matches!(kind, kind::DATE | kind::NEWDATE) { date } else { date + &clock };
                self.put(format!("\"{text}\"").as_bytes())
            }
            kind::TIME => {
                let packed = rest.u64()? as i64;
                let sign = if packed < 0 { "-" } else { "" };
                let packed = packed.unsigned_abs();
                let (micros, whole) = (packed & 0xff_ffff, packed >> 24);
                let text = format!(
                    "\"{sign}{:02}:{:02}:{:02}.{micros:06}\"",
                    whole >> 12 & 0x3ff,
                    whole >> 6 & 63,
                    whole & 63
                );
                self.put(text.as_bytes())
            }
            _ => {
                self.put(format!("\"base64:type{kind}:").as_bytes())?;
                self.put(&base64(bytes))?;
                self.put(b"\"")
            }
        }
    }
}

/// A length in groups of seven bits, the lowest first.
fn varint(rest: &mut Bytes<'_>) -> Option<usize> {
    let mut number = 0_usize;
    for at in 0..5 {
        let byte = rest.u8()?;
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A float as servers print it: the shortest text that means it, with an exponent where the point would lie more than 15 digits away.
///
/// # Examples
/// ```
/// use kwsync_core::system::mysql::binlog::double;
///
/// assert_eq!((double(0.5), double(-1e20)), ("0.5".to_owned(), "-1e20".to_owned()));
/// ```
pub fn double(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(-15..=14) => format!("{number}"),
        _ => format!("{digits}e{exponent}"),
    }
}

/// As the server does, in lines of 76 characters.
fn base64(bytes: &[u8]) -> Vec<u8> {
    crate::reject::base64(bytes).as_bytes().chunks(76).collect::<Vec<_>>().join(&b'\n')
}
