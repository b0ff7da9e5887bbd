//! How a table is cut.

use kwsync_core::system::clickhouse::sql::quote;
use kwsync_core::{Error, ErrorKind, Result};

use super::answer::Session;
use super::config::ClickHouseOptions;
use super::shape::{Key, Shape};

/// Most pieces that are cut without being asked for.
const MOST_PIECES: u64 = 10_000;
/// Least rows of a piece that is cut only for a lane.
const LANE_ROWS: u64 = 100_000;
/// More rows of one value than this are not held together for a column that nobody has named.
const MOST_ALIKE: u64 = 20_000;

/// Values that are looked at for being frequent.
const FREQUENT: usize = 10;

/// What is known of the values by which a table is cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Values below which a piece ends, in their order.
    pub(super) bounds: Vec<i128>,
    /// Rows that have no value.
    pub(super) nulls: bool,
    pub(super) rows: u64,
    /// How many of them the most frequent value has, about.
    alike: u64,
}

impl Cut {
    /// Whether so many rows have one value that they should not be held together.
    pub(super) fn is_coarse(&self) -> bool {
        self.alike > MOST_ALIKE
    }
}

/// How many pieces so many rows make.
pub(super) fn pieces(options: &ClickHouseOptions, rows: u64, lanes: usize) -> usize {
    if let Some(splits) = options.splits {
        return splits;
    }
    let for_lanes = (lanes as u64).min(rows / LANE_ROWS);
    (rows / options.split_rows).max(for_lanes).clamp(1, MOST_PIECES) as usize
}

/// Looks at the values of a column, and where `pieces` of about as many rows end; where it is `weighed`, also how many rows the most
/// frequent value has.
pub(super) async fn cut(
    session: &mut Session,
    options: &ClickHouseOptions,
    shape: &Shape,
    key: &Key,
    pieces: usize,
    weighed: bool,
) -> Result<Cut> {
    let name = quote(&key.name)?;
    let conditions: Vec<String> = options.condition.iter().map(|sql| format!("({sql}\n)")).collect();
    let mut list = format!("count(), count({name}), uniq({name})");
    if pieces > 1 {
        let levels: Vec<String> =
            (1..pieces).map(|piece| (piece as f64 / pieces as f64).to_string()).collect();
        // As a float every value has a place, if not an exact one: any bound is as good as another.
        list.push_str(&format!(", quantiles({})(toFloat64({}))", levels.join(", "), key.number(&name)));
    }
    let rows = session.rows(&shape.look(&list, &conditions)).await?;
    let row = rows.into_iter().next().unwrap_or_default();
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let number = |at: usize| text(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(rows), Some(known), Some(distinct)) = (number(0), number(1), number(2)) else {
        return Err(Error::new(ErrorKind::Protocol, "the server does not count its rows"));
    };
    let bounds = text(3).map(bounds).unwrap_or_default();
    let mut alike = known / distinct.max(1);
    if weighed && known > MOST_ALIKE && alike <= MOST_ALIKE {
        alike = alike.max(most_frequent(session, shape, key, &conditions).await?);
    }
    Ok(Cut { bounds, nulls: known < rows, rows, alike })
}

/// How many rows the most frequent value has, as far as the server can tell them from the others: an average hides one heavy value
/// among many.
async fn most_frequent(
    session: &mut Session,
    shape: &Shape,
    key: &Key,
    conditions: &[String],
) -> Result<u64> {
    let value = key.number(&quote(&key.name)?);
    let rows = session.rows(&shape.look(&format!("topK({FREQUENT})({value})"), conditions)).await?;
    let values = rows.first().and_then(|row| row.first()?.as_deref()).map(whole).unwrap_or_default();
    if values.is_empty() {
        return Ok(0);
    }
    let counts: Vec<String> = values.iter().map(|one| format!("countIf({value} = {one})")).collect();
    let rows = session.rows(&shape.look(&counts.join(", "), conditions)).await?;
    let counts = rows.iter().flatten().flatten().filter_map(|text| text.parse::<u64>().ok());
    Ok(counts.max().unwrap_or(0))
}

/// The whole numbers of a list.
fn whole(text: &str) -> Vec<i128> {
    text.trim_matches(['[', ']']).split(',').filter_map(|text| text.trim().parse().ok()).collect()
}

/// The numbers of a list that ascend.
fn bounds(text: &str) -> Vec<i128> {
    let numbers = text.trim_matches(['[', ']']).split(',');
    let mut bounds: Vec<i128> = numbers
        .filter_map(|text| text.trim().parse::<f64>().ok())
        .filter(|number| number.is_finite())
        .map(|number| number.ceil() as i128)
        .collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend() {
        assert_eq!(bounds("[24.75,49.5,49.6,1e18]"), [25, 50, 1_000_000_000_000_000_000]);
        assert_eq!(bounds("[nan,nan]"), Vec::<i128>::new());
        assert_eq!(bounds("[-3.5,-3.2,0]"), [-3, 0]);
        assert_eq!(whole("[-3,18446744073709551615]"), [-3, u64::MAX.into()]);
        assert!(whole("[]").is_empty());
    }
}
