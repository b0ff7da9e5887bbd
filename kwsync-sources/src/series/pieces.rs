//! Where a range of time is cut for lanes.

/// Pieces for each lane, so that lanes end together though time is not filled evenly; and pieces in all.
const PIECES_PER_LANE: i128 = 4;
const MOST_PIECES: i128 = 256;

/// The bounds between the pieces of `tables` ranges that `lanes` are to share, of which this one has points from `first` to `last`;
/// at whole units. None where there are as many ranges as lanes have use for.
pub(crate) fn bounds(first: i128, last: i128, unit: i128, lanes: usize, tables: usize) -> Vec<i128> {
    if lanes <= 1 || tables >= lanes.saturating_mul(2) {
        return Vec::new();
    }
    let pieces = (lanes as i128 * PIECES_PER_LANE / (tables.max(1) as i128)).clamp(1, MOST_PIECES);
    let (from, to) = (first.div_euclid(unit), last.div_euclid(unit) + 1);
    let each = (to - from + pieces - 1).div_euclid(pieces).max(1);
    (1..).map(|piece| from + piece * each).take_while(|bound| *bound < to).map(|bound| bound * unit).collect()
}

#[cfg(test)]
mod tests {
    use super::bounds;

    #[test]
    fn few_pieces_at_whole_units() {
        assert_eq!(bounds(0, 1_000, 60, 1, 1), Vec::<i128>::new());
        assert_eq!(bounds(0, 1_000, 60, 2, 4), Vec::<i128>::new());
        assert_eq!(bounds(30, 170, 60, 2, 1), [60, 120]);
        assert_eq!(bounds(-61, 0, 60, 2, 1), [-60, 0]);
        assert_eq!(bounds(7, 7, 60, 4, 1), Vec::<i128>::new());
        let years = bounds(0, 10 * 31_536_000, 60, 4, 1);
        assert!(years.len() == 15 && years.iter().all(|bound| bound % 60 == 0), "{years:?}");
    }
}
