//! Intervals as text.

/// ISO 8601: `P14M3DT-0.5S`. Years and hours are left in months and seconds.
pub(crate) fn interval(months: i32, days: i32, nanos: i64) -> String {
    let mut text = String::from("P");
    if months != 0 {
        text.push_str(&format!("{months}M"));
    }
    if days != 0 {
        text.push_str(&format!("{days}D"));
    }
    if nanos != 0 || (months == 0 && days == 0) {
        let sign = if nanos < 0 { "-" } else { "" };
        let (seconds, part) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
        text.push_str(&format!("T{sign}{seconds}"));
        if part != 0 {
            text.push_str(format!(".{part:09}").trim_end_matches('0'));
        }
        text.push('S');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn interval() {
        for (months, days, nanos, text) in [
            (0, 0, 0, "PT0S"),
            (14, 0, 0, "P14M"),
            (-1, 2, 500_000_000, "P-1M2DT0.5S"),
            (0, -3, -1, "P-3DT-0.000000001S"),
            (0, 0, i64::MIN, "PT-9223372036.854775808S"),
            (i32::MIN, i32::MAX, 60_000_000_000, "P-2147483648M2147483647DT60S"),
        ] {
            assert_eq!(super::interval(months, days, nanos), text);
        }
    }
}
