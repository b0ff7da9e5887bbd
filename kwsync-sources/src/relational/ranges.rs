//! Where ranges are cut.

/// The bounds between `pieces` ranges of equal width from `min` to `max`, both included. Fewer where there are not as
/// many numbers.
pub(crate) fn even(min: i128, max: i128, pieces: usize) -> Vec<i128> {
    let pieces = pieces.max(1) as i128;
    let Some(width) = max.checked_sub(min).and_then(|width| width.checked_add(1)).filter(|width| *width > 0)
    else {
        return Vec::new();
    };
    let mut bounds: Vec<i128> = (1..pieces).map(|piece| min + width * piece / pieces).collect();
    bounds.dedup();
    bounds.retain(|bound| *bound > min);
    bounds
}

/// The bounds between `pieces` ranges, picked from many that divide the whole evenly. The first and the last of those are
/// its ends.
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "places of rows are cut so, which PostgreSQL has")
)]
pub(crate) fn picked<T: Clone + PartialEq>(all: &[T], pieces: usize) -> Vec<T> {
    let gaps = all.len().saturating_sub(1);
    let pieces = pieces.clamp(1, gaps.max(1));
    let mut bounds: Vec<T> =
        (1..pieces).filter_map(|piece| all.get(gaps * piece / pieces).cloned()).collect();
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_divide_evenly() {
        assert_eq!(even(1, 100, 4), [26, 51, 76]);
        assert_eq!(even(-5, 4, 2), [0]);
        assert_eq!(even(7, 7, 8), Vec::<i128>::new());
        assert_eq!(even(1, 2, 8), [2]);
        assert_eq!(even(i64::MIN.into(), i64::MAX.into(), 2), [0]);
        assert_eq!(even(5, 1, 3), Vec::<i128>::new());
        assert_eq!(picked(&[0, 10, 20, 30, 40], 2), [20]);
        assert_eq!(picked(&[0, 10, 20], 8), [10]);
        assert!(picked::<i32>(&[], 4).is_empty());
    }
}
