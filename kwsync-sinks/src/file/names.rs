//! Names of tables and jobs as names of folders.

use kwsync_core::TableId;

/// Most bytes of a name, as file systems have it.
const MAX_BYTES: usize = 255;

/// The folder of a table: its name, after that of its schema and a dot where it has one, percent-encoded; with
/// `shorten`, cut and ended by a hash where that is too long. `None` if it is too long.
pub(crate) fn folder(table: &TableId, shorten: bool) -> Option<String> {
    let mut folder = String::new();
    if let Some(schema) = table.schema() {
        encode(schema, true, &mut folder);
        folder.push('.');
    }
    encode(table.name(), folder.is_empty(), &mut folder);
    fit(folder, shorten)
}

/// The folder of a job.
pub(crate) fn job(name: &str) -> String {
    let mut folder = String::new();
    encode(name, true, &mut folder);
    fit(folder, true).unwrap_or_default()
}

fn fit(name: String, shorten: bool) -> Option<String> {
    if name.len() <= MAX_BYTES {
        return Some(name);
    }
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut end = MAX_BYTES - 17;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    shorten.then(|| format!("{}~{hash:016x}", name.get(..end).unwrap_or_default()))
}

/// Keeps letters and digits of any script and most punctuation; encodes what some file system or shell refuses,
/// and at the `start` of a name what hides it.
fn encode(text: &str, start: bool, out: &mut String) {
    if text.is_empty() {
        // No name at all would be the folder above.
        out.push('%');
    }
    let last = text.chars().count().saturating_sub(1);
    for (index, c) in text.chars().enumerate() {
        let hidden = start && index == 0 && matches!(c, '.' | '_');
        let trailing = index == last && matches!(c, '.' | ' ');
        if hidden
            || trailing
            || c.is_control()
            || matches!(c, '/' | '\\' | '%' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
        {
            let mut bytes = [0; 4];
            out.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders() {
        for (name, expected) in [
            ("cpu", "cpu"),
            ("cpu.load", "cpu.load"),
            ("Größe in %", "Größe in %25"),
            ("../etc/passwd", "%2E./etc/passwd".replace('/', "%2F").as_str()),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("_hidden", "%5Fhidden"),
            ("a_b", "a_b"),
            ("a\0b\n", "a%00b%0A"),
            ("C:\\x", "C%3A%5Cx"),
            ("end.", "end%2E"),
            ("", "%"),
        ] {
            assert_eq!(folder(&TableId::new(name), false).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(folder(&TableId::with_schema("public", "_x"), false).as_deref(), Some("public._x"));
    }

    #[test]
    fn long_names() {
        let long = "é".repeat(200);
        let (a, b) = (TableId::new(format!("{long}a")), TableId::new(format!("{long}b")));
        assert_eq!(folder(&a, false), None);
        let (short_a, short_b) = (folder(&a, true).unwrap(), folder(&b, true).unwrap());
        assert!(short_a.len() <= MAX_BYTES && short_a != short_b, "{short_a} {short_b}");
        assert!(folder(&TableId::new("x".repeat(255)), false).is_some());
    }
}
