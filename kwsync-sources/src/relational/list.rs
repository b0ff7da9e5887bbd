//! Lists of expressions.

use kwsync_core::{Error, Result};

/// The expressions between the commas of `text`; commas in brackets and quotes do not count. Quotes are `'`, `"` and
/// `` ` ``, doubled within.
pub(crate) fn items(what: &str, text: &str) -> Result<Vec<String>> {
    let mut items = vec![String::new()];
    let mut open: Vec<char> = Vec::new();
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            // A doubled quote ends one text and begins the next, which comes to the same.
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(') => open.push(')'),
            (None, '[') => open.push(']'),
            (None, ')' | ']') if open.pop() != Some(c) => {
                return Err(Error::config(format!("{what}: {c:?} closes nothing in {text:?}")));
            }
            (None, ',') if open.is_empty() => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = items.last_mut() {
            last.push(c);
        }
    }
    if quote.is_some() || !open.is_empty() {
        return Err(Error::config(format!("{what}: a quote or bracket is not closed in {text:?}")));
    }
    let items: Vec<_> = items.iter().map(|item| item.trim().to_owned()).collect();
    if items.iter().any(String::is_empty) {
        return Err(Error::config(format!("{what}: an expression is missing in {text:?}"))
            .with_hint("write * for all columns"));
    }
    Ok(items)
}

/// A statement on one line and without its end, as it stands in messages.
pub(crate) fn one_line(sql: &str) -> String {
    let text = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(120) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_count() {
        let of = |text| items("columns", text).unwrap();
        assert_eq!(of("id, 9001 as n ,name"), ["id", "9001 as n", "name"]);
        assert_eq!(of("coalesce(a, 'x,y') as c, \"odd,name\", `b,c`, d[1,2]").len(), 4);
        assert_eq!(of("'it''s, so' as t"), ["'it''s, so' as t"]);
        for wrong in ["a,,b", "", "f(a", "a)", "'x"] {
            assert!(items("columns", wrong).is_err(), "{wrong}");
        }
    }
}
