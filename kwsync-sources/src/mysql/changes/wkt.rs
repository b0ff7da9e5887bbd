//! Geometries as text, as the server's `ST_AsText` has them.

use kwsync_core::system::mysql::binlog::double;

/// What servers nest at most, and some.
const DEPTH: usize = 16;

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn count(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

/// Writes what a column of a geometry holds, four bytes of a reference system and WKB, as text. Returns whether it is one.
pub(super) fn write_wkt(value: &[u8], to: &mut Vec<u8>) -> bool {
    let mut text = String::new();
    let mut write = || {
        let mut rest = Bytes(value.get(4..)?);
        geometry(&mut rest, &mut text, None, 0)?;
        rest.0.is_empty().then_some(())
    };
    let whole = write().is_some();
    to.extend_from_slice(text.as_bytes());
    whole
}

/// One geometry; `within` says of which kind it has to be, where its name goes without saying.
fn geometry(rest: &mut Bytes<'_>, to: &mut String, within: Option<u32>, depth: usize) -> Option<()> {
    let [order] = rest.array()?;
    let kind = rest.count()?;
    // Servers write the lowest byte first.
    if order != 1 || depth > DEPTH || within.is_some_and(|within| within != kind) {
        return None;
    }
    let named = within.is_none();
    match kind {
        1 => {
            to.push_str(if named { "POINT(" } else { "" });
            point(rest, to)?;
            to.push_str(if named { ")" } else { "" });
            Some(())
        }
        2 => {
            to.push_str(if named { "LINESTRING" } else { "" });
            list(rest, to, point)
        }
        3 => {
            to.push_str(if named { "POLYGON" } else { "" });
            list(rest, to, |rest, to| list(rest, to, point))
        }
        4..=6 => {
            to.push_str(["MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON"].get(kind as usize - 4)?);
            list(rest, to, |rest, to| geometry(rest, to, Some(kind - 3), depth + 1))
        }
        7 if rest.0.first_chunk() == Some(&[0; 4]) => {
            rest.count()?;
            to.push_str("GEOMETRYCOLLECTION EMPTY");
            Some(())
        }
        7 => {
            to.push_str("GEOMETRYCOLLECTION");
            list(rest, to, |rest, to| geometry(rest, to, None, depth + 1))
        }
        _ => None,
    }
}

fn list(
    rest: &mut Bytes<'_>,
    to: &mut String,
    mut each: impl FnMut(&mut Bytes<'_>, &mut String) -> Option<()>,
) -> Option<()> {
    let count = rest.count()?;
    to.push('(');
    for at in 0..count {
        if at > 0 {
            to.push(',');
        }
        each(rest, to)?;
    }
    to.push(')');
    Some(())
}

fn point(rest: &mut Bytes<'_>, to: &mut String) -> Option<()> {
    let (x, y) = (f64::from_le_bytes(rest.array()?), f64::from_le_bytes(rest.array()?));
    to.push_str(&double(x));
    to.push(' ');
    to.push_str(&double(y));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wkb(parts: &[&[u8]]) -> Vec<u8> {
        [&[0, 0, 0, 0][..], &parts.concat()].concat()
    }

    #[test]
    fn geometries_as_servers_print_them() {
        let (one, two) = (1.5_f64.to_le_bytes(), (-1e20_f64).to_le_bytes());
        let head = |kind: u8| [1, kind, 0, 0, 0];
        let many = |count: u8| [count, 0, 0, 0];
        let mut made = Vec::new();
        assert!(write_wkt(&wkb(&[&head(1), &one, &two]), &mut made));
        assert_eq!(made, b"POINT(1.5 -1e20)");
        made.clear();
        let points = [&head(4)[..], &many(2), &head(1), &one, &one, &head(1), &one, &two];
        assert!(write_wkt(&wkb(&points), &mut made));
        assert_eq!(made, b"MULTIPOINT(1.5 1.5,1.5 -1e20)");
        made.clear();
        assert!(write_wkt(&wkb(&[&head(7), &many(1), &head(3), &many(1), &many(1), &one, &one]), &mut made));
        assert_eq!(made, b"GEOMETRYCOLLECTION(POLYGON((1.5 1.5)))");
        made.clear();
        assert!(write_wkt(&wkb(&[&head(7), &many(0)]), &mut made));
        assert_eq!(made, b"GEOMETRYCOLLECTION EMPTY");
        for broken in [
            &b""[..],
            &[0; 9],
            &wkb(&[&head(2), &[255; 4], &one]),
            &wkb(&[&head(9)]),
            &wkb(&[&head(4), &many(1), &head(2)]),
        ] {
            assert!(!write_wkt(broken, &mut Vec::new()));
        }
    }
}
