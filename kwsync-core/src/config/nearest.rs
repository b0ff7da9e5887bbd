//! The known name that a mistyped one most likely meant.

/// The candidate nearest to `name`, if one is near enough to be worth naming: letter case is free, and a
/// changed, missing, added or swapped letter counts one, at most one for every three letters.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(name);
    let most = (folded.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(cost, candidate)| *cost <= most && *cost < candidate.chars().count())
        .min_by_key(|(cost, _)| *cost)
        .map(|(_, candidate)| candidate)
}

/// `, did you mean `x`?` with the candidate nearest to `name`, for the end of a message, or nothing where none is near.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|found| format!(", did you mean `{found}`?")).unwrap_or_default()
}

/// Lower case, and `-` and `.` as `_`: nobody remembers which.
fn fold(name: &str) -> Vec<char> {
    name.chars().take(64).map(|c| if matches!(c, '-' | '.') { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Optimal string alignment: edits and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                cost = cost.min(before[j - 1] + 1);
            }
            row[j + 1] = cost;
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["topics", "timeout", "group.id", "client_id", "batch-size", "qos"];
        for (typed, meant) in [
            ("topic", Some("topics")),
            ("tiemout", Some("timeout")),
            ("Timeout", Some("timeout")),
            ("group_id", Some("group.id")),
            ("batch_size", Some("batch-size")),
            ("qso", Some("qos")),
            ("database", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
        assert_eq!(did_you_mean("topic", known), ", did you mean `topics`?");
    }
}
