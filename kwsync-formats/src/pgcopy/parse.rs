//! Types that travel as text in a batch and as bytes in COPY: UUIDs, addresses, bit strings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fault::Fault;

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// With hyphens in their usual places or without any; braces are allowed around it.
pub(crate) fn uuid(text: &str) -> Result<[u8; 16], Fault> {
    let read = || {
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text).as_bytes();
        let hyphens = match inner.len() {
            32 => false,
            36 => true,
            _ => return None,
        };
        let mut made = [0_u8; 16];
        let mut at = 0;
        for (index, byte) in made.iter_mut().enumerate() {
            if hyphens && matches!(index, 4 | 6 | 8 | 10) {
                if inner.get(at) != Some(&b'-') {
                    return None;
                }
                at += 1;
            }
            *byte = hex(*inner.get(at)?)? << 4 | hex(*inner.get(at + 1)?)?;
            at += 2;
        }
        Some(made)
    };
    read().ok_or_else(|| Fault::text("bad_uuid", text, "UUID"))
}

/// An address of either family, and its netmask; a cidr has no bits to the right of the mask.
pub(crate) fn inet(text: &str, cidr: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (code, what) =
        if cidr { ("bad_cidr", "network address (cidr)") } else { ("bad_inet", "host address (inet)") };
    let fault = || Fault::text(code, text, what);
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| fault())?;
    let (family, octets, all) = match &address {
        IpAddr::V4(v4) => (2, &v4.octets()[..], 32),
        IpAddr::V6(v6) => (3, &v6.octets()[..], 128),
    };
    let mask = match mask {
        Some(mask) if mask.len() <= 3 && mask.bytes().all(|byte| byte.is_ascii_digit()) => {
            mask.parse::<u8>().ok().filter(|mask| *mask <= all).ok_or_else(fault)?
        }
        Some(_) => return Err(fault()),
        None => all,
    };
    let host_bits = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    if cidr && mask < 128 && host_bits << mask != 0 {
        return Err(Fault::new(
            "bad_cidr",
            format!("{text:?} has bits set to the right of its mask: cidr takes none; make the column inet"),
        ));
    }
    out.extend_from_slice(&[family, mask, u8::from(cidr), all / 8]);
    out.extend_from_slice(octets);
    Ok(())
}

/// The text of an address, as PostgreSQL writes it.
pub(crate) fn inet_text(bytes: &[u8]) -> Option<String> {
    let (&[family, mask, cidr, length], address) = bytes.split_first_chunk::<4>()?;
    if usize::from(length) != address.len() {
        return None;
    }
    let (address, all) = match family {
        2 => (IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)), 32),
        3 => (IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)), 128),
        _ => return None,
    };
    Some(if mask == all && cidr == 0 { address.to_string() } else { format!("{address}/{mask}") })
}

/// A MAC address of 6 or 8 bytes, its digits in any of the usual groups; 8 bytes out of 6 as EUI-64 says.
pub(crate) fn mac(text: &str, length: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut made = [0_u8; 8];
    let mut digits = 0;
    for byte in text.bytes() {
        match hex(byte) {
            Some(digit) if digits < 16 => {
                made[digits / 2] |= if digits % 2 == 0 { digit << 4 } else { digit };
                digits += 1;
            }
            // Groups are of one length, and none is empty.
            None if matches!(byte, b':' | b'-' | b'.') && digits > 0 && digits % 2 == 0 => {}
            _ => return Err(Fault::text("bad_macaddr", text, "MAC address")),
        }
    }
    match (digits, length) {
        (12, 6) => out.extend_from_slice(&made[..6]),
        (16, 8) => out.extend_from_slice(&made),
        (12, 8) => {
            out.extend_from_slice(&made[..3]);
            out.extend_from_slice(&[0xff, 0xfe]);
            out.extend_from_slice(&made[3..6]);
        }
        _ => return Err(Fault::text("bad_macaddr", text, &format!("MAC address of {length} bytes"))),
    }
    Ok(())
}

/// A bit string out of `0` and `1`.
pub(crate) fn bits(text: &str, length: Option<u32>, varying: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
    let count = text.len() as u32;
    let fits = match length {
        None => true,
        Some(length) if varying => count <= length,
        Some(length) => count == length,
    };
    if !fits {
        let (kind, length) = (if varying { "varbit" } else { "bit" }, length.unwrap_or(0));
        return Err(Fault::new("bit_length", format!("{count} bits do not go into {kind}({length})")));
    }
    out.extend_from_slice(&count.to_be_bytes());
    for eight in text.as_bytes().chunks(8) {
        let mut byte = 0;
        for (index, bit) in eight.iter().enumerate() {
            match bit {
                b'0' => {}
                b'1' => byte |= 0x80 >> index,
                _ => return Err(Fault::text("bad_bits", text, "bit string of 0 and 1")),
            }
        }
        out.push(byte);
    }
    Ok(())
}
