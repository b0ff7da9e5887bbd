//! Dates and times as text.

/// Days from 1970-01-01, after Howard Hinnant's `days_from_civil`; `None` for a day that no calendar has.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Reads from the front of a text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count().min(*digits.end());
        if length < *digits.start() {
            return None;
        }
        let (digits, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first().filter(|(first, _)| bytes.contains(first))?;
        self.0 = rest;
        Some(*first)
    }

    fn date(&mut self) -> Option<i64> {
        let negative = self.one_of(b"-").is_some();
        let year = self.number(4..=7)?;
        self.one_of(b"-")?;
        let month = self.number(2..=2)?;
        self.one_of(b"-")?;
        let day = self.number(2..=2)?;
        days(if negative { -year } else { year }, month, day)
    }

    /// Seconds, and nanoseconds; `24:00:00` is the end of the day. More than nine digits must be zeros.
    fn time(&mut self) -> Option<(i64, i64)> {
        let hour = self.number(2..=2)?;
        self.one_of(b":")?;
        let minute = self.number(2..=2)?;
        let second = if self.one_of(b":").is_some() { self.number(2..=2)? } else { 0 };
        let mut nanos = 0;
        if self.one_of(b".").is_some() {
            let before = self.0.len();
            nanos = self.number(1..=9)?;
            let read = before - self.0.len();
            nanos *= 10_i64.pow(9 - read as u32);
            while self.one_of(b"0").is_some() {}
        }
        let whole = hour * 3600 + minute * 60 + second;
        (minute < 60 && second < 60 && (hour < 24 || (whole == 86_400 && nanos == 0)))
            .then_some((whole, nanos))
    }

    /// Seconds east of UTC: `Z`, `+02`, `+02:30`, `+0230`, `-02:30:15`.
    fn offset(&mut self) -> Option<i64> {
        if self.one_of(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.number(2..=2)?;
        let mut minutes = 0;
        let mut seconds = 0;
        if self.one_of(b":").is_some() || self.0.len() == 2 {
            minutes = self.number(2..=2)?;
            if self.one_of(b":").is_some() {
                seconds = self.number(2..=2)?;
            }
        }
        let all = hours * 3600 + minutes * 60 + seconds;
        // PostgreSQL goes as far as 15:59:59.
        (minutes < 60 && seconds < 60 && all < 16 * 3600).then_some(sign * all)
    }
}

/// `YYYY-MM-DD`: days from 1970-01-01.
pub(crate) fn date(text: &[u8]) -> Option<i64> {
    let mut reader = Reader(text);
    reader.date().filter(|_| reader.0.is_empty())
}

/// `HH:MM[:SS[.f]]`: nanoseconds.
pub(crate) fn time(text: &[u8]) -> Option<i64> {
    let mut reader = Reader(text);
    let (seconds, nanos) = reader.time().filter(|_| reader.0.is_empty())?;
    Some(seconds * 1_000_000_000 + nanos)
}

/// `HH:MM[:SS[.f]]+hh[:mm[:ss]]`: nanoseconds, and seconds east of UTC.
#[cfg(feature = "pgcopy")]
pub(crate) fn timetz(text: &[u8]) -> Option<(i64, i64)> {
    let mut reader = Reader(text);
    let (seconds, nanos) = reader.time()?;
    let offset = reader.offset()?;
    reader.0.is_empty().then_some((seconds * 1_000_000_000 + nanos, offset))
}

/// `YYYY-MM-DD` and `T` or a blank and a time: seconds from 1970-01-01, nanoseconds, and the offset where one is
/// written, which has been taken off the seconds.
pub(crate) fn timestamp(text: &[u8]) -> Option<(i64, i64, Option<i64>)> {
    let mut reader = Reader(text);
    let day = reader.date()?;
    let (mut seconds, mut nanos) = (0, 0);
    if reader.one_of(b"Tt ").is_some() {
        (seconds, nanos) = reader.time()?;
    }
    let offset = if reader.0.is_empty() { None } else { Some(reader.offset()?) };
    reader.0.is_empty().then_some((day * 86_400 + seconds - offset.unwrap_or(0), nanos, offset))
}

/// Nanoseconds from 1970-01-01 UTC of a time as RFC 3339 has it, and its kin: `2023-06-01T00:00:00Z`, `2023-06-01 00:00:00.5+0800`,
/// `2023-06-01`. Without an offset it is in UTC; `None` for what is no time.
///
/// # Examples
/// ```
/// use kwsync_formats::nanoseconds;
///
/// assert_eq!(nanoseconds("1970-01-01T08:00:00.5+0800"), Some(500_000_000));
/// assert_eq!(nanoseconds("1970-13-01"), None);
/// ```
pub fn nanoseconds(text: &str) -> Option<i128> {
    let (seconds, nanos, _) = timestamp(text.as_bytes())?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}
