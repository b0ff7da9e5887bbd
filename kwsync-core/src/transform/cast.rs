//! Arrow's cast, which knows zones by their offset only: `UTC` is one to us, and there is no table of the others here.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, make_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType as Arrow};

/// As [`cast_with_options`], to and from points in time as well.
pub(super) fn cast(array: &ArrayRef, to: &Arrow, options: &CastOptions<'_>) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let by_offset = |arrow: &Arrow| match arrow {
        Arrow::Timestamp(unit, Some(zone)) if &**zone == "UTC" => {
            Some(Arrow::Timestamp(*unit, Some("+00:00".into())))
        }
        _ => None,
    };
    let from = match by_offset(array.data_type()) {
        Some(from) => retyped(array, from)?,
        None => Arc::clone(array),
    };
    match by_offset(to) {
        Some(offset) => retyped(&cast_with_options(&from, &offset, options)?, to.clone()),
        None => cast_with_options(&from, to, options),
    }
}

/// The same bits under another name.
fn retyped(array: &ArrayRef, to: Arrow) -> Result<ArrayRef, ArrowError> {
    Ok(make_array(array.to_data().into_builder().data_type(to).build()?))
}
