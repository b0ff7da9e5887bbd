//! Times of addresses, and of servers.

use kwsync_core::{Error, Result};
use kwsync_formats::nanoseconds;

use crate::relational::{Bound, Window};

/// The first and the last nanosecond that a 64-bit time has here: InfluxDB keeps two of each end for itself.
const FIRST: i128 = i64::MIN as i128 + 2;
const LAST: i128 = i64::MAX as i128 - 1;

/// Nanoseconds of a time that the operator wrote as `name`: with `Z`, `+hhmm` or `+hh:mm`, else in UTC.
///
/// # Errors
/// `Config` for what is no time, or lies outside of 64 bits of nanoseconds.
pub(crate) fn moment(name: &str, text: &str) -> Result<i128> {
    let wrong = |what: &str| {
        Error::config(format!("{name}={text}: {what}"))
            .with_hint("write YYYY-MM-DDTHH:MM:SS and Z, +hhmm or +hh:mm, as 2023-06-01T00:00:00+0800; without a zone it is UTC")
    };
    let at = nanoseconds(text.trim()).ok_or_else(|| wrong("this is no time"))?;
    if (FIRST..=LAST).contains(&at) { Ok(at) } else { Err(wrong("nanoseconds reach from 1677 to 2262 only")) }
}

/// From which time on, and below which, a window is; its own ends are digits.
pub(crate) fn bounds_of(window: &Window) -> (i128, i128) {
    let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<i128>().ok());
    let from = window.from.map(|(at, bound)| if bound == Bound::With { at } else { at + 1 });
    let begin = from.unwrap_or(FIRST).max(number(&window.begin).unwrap_or(FIRST)).max(FIRST);
    let ends = [window.upto.map(|at| at + 1), window.below, number(&window.end), Some(LAST + 1)];
    (begin, ends.into_iter().flatten().min().unwrap_or(LAST + 1))
}

/// Nanoseconds of a time as a header `Date` has it: `Tue, 01 Dec 2026 01:27:49 GMT`.
pub(crate) fn http_date(text: &str) -> Option<i128> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split(' ').skip(1);
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    nanoseconds(&format!("{year}-{month:02}-{day:0>2}T{}Z", parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_every_zone() {
        let june = 1_685_548_800_000_000_000;
        for (text, wanted) in [
            ("2023-05-31T16:00:00Z", june),
            ("2023-06-01T00:00:00+0800", june),
            ("2023-06-01T00:00:00+08:00", june),
            ("2023-05-31 16:00:00", june),
            ("2023-05-31T16:00:00.000000001", june + 1),
            ("2023-05-31", june - 57_600_000_000_000),
        ] {
            assert_eq!(moment("beginTime", text).unwrap(), wanted, "{text}");
        }
        for text in [
            "yesterday",
            "2023-13-01T00:00:00Z",
            "2023-06-01T25:00:00",
            "1685548800",
            "2023-06-01T00:00:00+8",
        ] {
            let error = moment("beginTime", text).unwrap_err();
            assert!(error.message().contains("this is no time"), "{text}: {error}");
        }
        assert!(moment("endTime", "2300-01-01").unwrap_err().message().contains("1677 to 2262"));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:01 GMT"), Some(1_000_000_000));
        assert_eq!(http_date("yesterday"), None);
    }

    #[test]
    fn windows_have_two_ends() {
        assert_eq!(bounds_of(&Window::default()), (FIRST, LAST + 1));
        let window = Window {
            from: Some((5, Bound::Behind)),
            upto: Some(9),
            below: Some(20),
            begin: Some("3".to_owned()),
            end: Some("8".to_owned()),
        };
        assert_eq!(bounds_of(&window), (6, 8));
    }
}
