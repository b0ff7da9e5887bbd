//! CSV as monitoring exports look: a time, tags, floats, integers, now and then a quoted text or a null.

use std::fmt::Write;

use super::Rng;

/// The names of the columns, and of their types as kwsync and SQL have them.
pub const COLUMNS: [(&str, &str); 12] = [
    ("time", "i64"),
    ("host", "text"),
    ("region", "text"),
    ("os", "text"),
    ("user", "f64"),
    ("system", "f64"),
    ("idle", "f64"),
    ("load", "f64"),
    ("reads", "i64"),
    ("writes", "i64"),
    ("errors", "i64"),
    ("note", "text"),
];

/// About `bytes` bytes of whole lines.
#[must_use]
pub fn generate(bytes: usize) -> String {
    let mut rng = Rng::new(0x6373_7631);
    let mut out = String::with_capacity(bytes + 1024);
    let mut row = 0_u64;
    while out.len() < bytes {
        let number = |rng: &mut Rng, scale: u64| rng.below(scale);
        // Writing to a String does not fail.
        write!(
            out,
            "{},host_{},eu-west-{},",
            1_700_000_000_000_000_000 + row * 1_000_000_000,
            row % 1000,
            row % 3
        )
        .unwrap_or_default();
        out.push_str(if row.is_multiple_of(2) { "Ubuntu16.10," } else { "Ubuntu15.10," });
        for _ in 0..4 {
            write!(out, "{}.{:02},", number(&mut rng, 100), number(&mut rng, 100)).unwrap_or_default();
        }
        for _ in 0..3 {
            write!(out, "{},", number(&mut rng, 1_000_000)).unwrap_or_default();
        }
        out.push_str(match number(&mut rng, 16) {
            0 => "\"disk full, \"\"again\"\"\"\n",
            1..=3 => "restarted by the operator\n",
            _ => "\n",
        });
        row += 1;
    }
    out
}
