//! The encodings that COPY's ENCODING names.

use std::borrow::Cow;

use encoding_rs::Encoding;
use kwsync_core::{Error, Result};

/// How text is laid down in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    /// ISO 8859-1: each byte is the character of its number. The usual label means another.
    Latin1,
    Other(&'static Encoding),
}

/// PostgreSQL's names that are not the usual labels, without punctuation.
const NAMES: &[(&str, &str)] = &[
    ("unicode", "utf-8"),
    ("sqlascii", "utf-8"),
    ("latin2", "iso-8859-2"),
    ("latin3", "iso-8859-3"),
    ("latin4", "iso-8859-4"),
    ("latin5", "iso-8859-9"),
    ("latin6", "iso-8859-10"),
    ("latin7", "iso-8859-13"),
    ("latin8", "iso-8859-14"),
    ("latin9", "iso-8859-15"),
    ("latin10", "iso-8859-16"),
    ("iso88595", "iso-8859-5"),
    ("iso88596", "iso-8859-6"),
    ("iso88597", "iso-8859-7"),
    ("iso88598", "iso-8859-8"),
    ("koi8r", "koi8-r"),
    ("koi8u", "koi8-u"),
    ("win866", "ibm866"),
    ("euccn", "gbk"),
    ("eucjp", "euc-jp"),
    ("euckr", "euc-kr"),
    ("uhc", "euc-kr"),
    ("sjis", "shift_jis"),
    ("mskanji", "shift_jis"),
];

impl Charset {
    pub(super) fn of(name: &str) -> Result<Self> {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        let plain = letters.collect::<String>().to_ascii_lowercase();
        if matches!(plain.as_str(), "latin1" | "iso88591") {
            return Ok(Self::Latin1);
        }
        let label = match NAMES.iter().find(|(own, _)| *own == plain) {
            Some((_, label)) => (*label).to_owned(),
            None => match plain.strip_prefix("win") {
                Some(page) if page.len() <= 4 => format!("windows-{page}"),
                _ => name.to_ascii_lowercase(),
            },
        };
        match Encoding::for_label_no_replacement(label.as_bytes()) {
            Some(found) if found == encoding_rs::UTF_8 => Ok(Self::Utf8),
            // Those of two bytes a character would need other line ends.
            Some(found) if found != encoding_rs::UTF_16LE && found != encoding_rs::UTF_16BE => {
                Ok(Self::Other(found))
            }
            _ => Err(Error::config(format!("unknown encoding {name:?}")).with_hint(
                "use UTF8, LATIN1 to LATIN10, WIN1250 to WIN1258, KOI8R, GBK, GB18030, BIG5, SJIS, EUC_JP ...",
            )),
        }
    }

    /// The text that `bytes` are; `None` where they are none. UTF-8 is left to the caller.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Utf8 => Some(Cow::Borrowed(bytes)),
            Self::Latin1 => Some(encoding_rs::mem::decode_latin1(bytes).into_owned().into_bytes().into()),
            Self::Other(encoding) => {
                let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
                Some(text.into_owned().into_bytes().into())
            }
        }
    }

    /// Appends `text`; `None` where it has a character that the encoding lacks.
    pub(super) fn encode(self, text: &str, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Latin1 if encoding_rs::mem::is_str_latin1(text) => {
                out.extend_from_slice(&encoding_rs::mem::encode_latin1_lossy(text));
            }
            Self::Latin1 => return None,
            Self::Other(encoding) => {
                let (bytes, _, unmappable) = encoding.encode(text);
                if unmappable {
                    return None;
                }
                out.extend_from_slice(&bytes);
            }
        }
        Some(())
    }
}
