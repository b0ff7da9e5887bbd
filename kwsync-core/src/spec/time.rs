//! Times as jobs have them.

/// The time in its usual form, and whether it was mended: `10:00:000` has three digits where two of seconds belong, and
/// is read as `10:00:00`. `None` for what is no time.
pub(super) fn normal(text: &str) -> Option<(String, bool)> {
    let text = text.trim();
    if text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The tool's own compact form.
        let part = |from: usize, to: usize| text.get(from..to);
        let spread = format!(
            "{}-{}-{} {}:{}:{}",
            part(0, 4)?,
            part(4, 6)?,
            part(6, 8)?,
            part(8, 10)?,
            part(10, 12)?,
            part(12, 14)?
        );
        return normal(&spread);
    }
    let (date, rest) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4..=4, 0, 9999)?;
    let (month, day) = (digits(parts.next()?, 1..=2, 1, 12)?, digits(parts.next()?, 1..=2, 1, 31)?);
    if parts.next().is_some() {
        return None;
    }
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at_checked(zone_at)?;
    let is_zone = match zone.trim_end() {
        "" | "Z" => true,
        offset => {
            let digits = offset.get(1..)?.replace(':', "");
            matches!(digits.len(), 2 | 4) && digits.bytes().all(|byte| byte.is_ascii_digit())
        }
    };
    if !is_zone {
        return None;
    }
    let mut parts = clock.trim_end().split(':');
    let (hour, minute) = (digits(parts.next()?, 1..=2, 0, 23)?, digits(parts.next()?, 1..=2, 0, 59)?);
    let (seconds, fraction) = match parts.next() {
        None => ("00", ""),
        Some(text) => text.split_once('.').unwrap_or((text, "")),
    };
    let mended = seconds.len() == 3;
    let second = digits(seconds, 1..=3, 0, 59)?;
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    Some((
        format!(
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}{}",
            zone.trim_end()
        ),
        mended,
    ))
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>, least: u32, most: u32) -> Option<u32> {
    let ok = length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| ok && (least..=most).contains(number))
}

/// Whether two normal times can be compared as texts: neither names a zone.
pub(super) fn is_comparable(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.get(10..).is_some_and(|clock| !clock.contains(['Z', '+', '-']));
    plain(a) && plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_jobs() {
        for (text, wanted, mended) in [
            ("2024-05-01 10:00:000", "2024-05-01 10:00:00", true),
            ("2024-05-01 10:00:059", "2024-05-01 10:00:59", true),
            ("2024-05-01 10:00:5", "2024-05-01 10:00:05", false),
            ("2024-5-1 9:00:00.25", "2024-05-01 09:00:00.25", false),
            ("2024-05-01T10:00:00Z", "2024-05-01 10:00:00Z", false),
            ("2024-05-01 10:00:00+0800", "2024-05-01 10:00:00+0800", false),
            ("20240501100000", "2024-05-01 10:00:00", false),
            ("2024-05-01", "2024-05-01 00:00:00", false),
        ] {
            assert_eq!(normal(text), Some((wanted.to_owned(), mended)), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2024-13-01 00:00:00",
            "2024-05-01 10:00:060",
            "2024-05-01 10:00:00 x",
            "1714557600",
        ] {
            assert_eq!(normal(text), None, "{text}");
        }
        assert!(is_comparable("2024-05-01 10:00:00", "2024-05-02 10:00:00"));
        assert!(!is_comparable("2024-05-01 10:00:00Z", "2024-05-02 10:00:00"));
    }
}
