//! Types of MariaDB that lie as bytes in the log, as the text that the server makes of them.

use std::fmt::Write;

/// `8a6e0804-2bd0-4672-b79d-d97027f9071a`; the log leaves zeros at the end out. Returns whether it is one.
pub(super) fn write_uuid(value: &[u8], to: &mut Vec<u8>) -> bool {
    let Some(bytes) = padded::<16>(value) else { return false };
    let number = u128::from_be_bytes(bytes);
    to.extend_from_slice(format!("{number:032x}").as_bytes());
    true
}

/// An address of the version that its length tells, or would without the zeros at its end. Returns whether it is one.
pub(super) fn write_inet(value: &[u8], to: &mut Vec<u8>, length: usize) -> bool {
    let mut text = String::new();
    let written = match length {
        4 => padded::<4>(value).map(|[a, b, c, d]| write!(text, "{a}.{b}.{c}.{d}")),
        16 => padded::<16>(value).map(|bytes| six(bytes, &mut text)),
        _ => None,
    };
    to.extend_from_slice(text.as_bytes());
    written.is_some_and(|written| written.is_ok())
}

fn padded<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    bytes.get_mut(..value.len())?.copy_from_slice(value);
    Some(bytes)
}

/// The first of the longest runs of zeros is left out, be it one; the last four bytes are written with points where what stands before them
/// says that they are an address of version 4.
fn six(bytes: [u8; 16], text: &mut String) -> std::fmt::Result {
    let word = |at: usize| u16::from_be_bytes([bytes[2 * at], bytes[2 * at + 1]]);
    let (mut best, mut longest) = (0, 0);
    for begin in 0..8 {
        let run = (begin..8).take_while(|at| word(*at) == 0).count();
        if run > longest {
            (best, longest) = (begin, run);
        }
    }
    let four = longest > 0 && best == 0 && (longest == 6 || (longest == 5 && word(5) == 0xffff));
    let mut at = 0;
    while at < 8 {
        if longest > 0 && at == best {
            text.push_str("::");
            at += longest;
            continue;
        }
        if at > 0 && (longest == 0 || at != best + longest) {
            text.push(':');
        }
        if four && at == 6 {
            return write!(text, "{}.{}.{}.{}", bytes[12], bytes[13], bytes[14], bytes[15]);
        }
        write!(text, "{:x}", word(at))?;
        at += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_mariadb_prints_them() {
        // All of it by a server of version 10.11.
        for text in [
            "::1.2.3.4",
            "::ffff:1.2.3.4",
            "::0.1.0.0",
            "::2",
            "1:0:0:2::3",
            "::ffff:0.0.0.0",
            "::5:1:1",
            "1:2:3:4:5:6::8",
            "1:0:3:4:5:6::",
            "2001:db8::7",
            "::",
            "1:2:3:4:5:6:7:8",
        ] {
            let bytes = text.parse::<std::net::Ipv6Addr>().unwrap().octets();
            let short = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            let mut made = Vec::new();
            assert!(write_inet(&bytes[..short], &mut made, 16));
            assert_eq!(String::from_utf8(made).unwrap(), text);
        }
        let mut made = Vec::new();
        assert!(write_inet(&[10, 1], &mut made, 4) && made == b"10.1.0.0");
        assert!(!write_inet(&[1; 17], &mut made, 16) && !write_uuid(&[1; 17], &mut made));
        made.clear();
        assert!(write_uuid(&[0x8a, 0x6e], &mut made));
        assert_eq!(made, b"8a6e0000000000000000000000000000");
    }
}
