//! Names of subtables that nobody has named.

use sha2::{Digest, Sha256};

/// Bytes of a supertable's name in that of a subtable, which has 192 at most.
const STEM_BYTES: usize = 159;

/// The name of the subtable of a supertable's rows with these tags, each by name and value as a literal, without those that are null:
/// the supertable's name, an underscore and 32 hexadecimal digits. The same tags in any order make the same name, in every run.
///
/// The digits are the first half of the SHA-256 of the tags in the order of their names: name, NUL, literal, NUL.
///
/// # Examples
/// ```
/// use kwsync_core::system::tdengine::child_name;
///
/// let name = child_name("meters", vec![("location", &b"'Berlin'"[..]), ("groupid", b"7")]);
/// assert_eq!(name, child_name("meters", vec![("groupid", &b"7"[..]), ("location", b"'Berlin'")]));
/// assert!(name.starts_with("meters_") && name.len() == 39);
/// ```
pub fn child_name(table: &str, mut tags: Vec<(&str, &[u8])>) -> String {
    tags.sort_unstable();
    let mut hash = Sha256::new();
    for (name, value) in tags {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(value);
        hash.update([0]);
    }
    let mut end = table.len().min(STEM_BYTES);
    while !table.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = format!("{}_", table.get(..end).unwrap_or_default());
    for byte in hash.finalize().iter().take(16) {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_tags_apart() {
        // Names of an earlier version must be found again.
        assert_eq!(child_name("m", vec![("a", b"1")]), "m_8bf19097aa1a235b67bc19aeb9077018");
        let all = [
            child_name("m", vec![]),
            child_name("m", vec![("a", b"1")]),
            child_name("m", vec![("a", b"'1'")]),
            child_name("m", vec![("a", b"1"), ("b", b"2")]),
            child_name("m", vec![("a", b"12"), ("b", b"")]),
            child_name("n", vec![("a", b"1")]),
        ];
        for (at, name) in all.iter().enumerate() {
            assert!(!all[..at].contains(name));
        }
        assert_eq!(child_name(&"温".repeat(64), vec![]).len(), 159 + 33);
    }
}
