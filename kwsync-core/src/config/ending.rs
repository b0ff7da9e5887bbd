//! What the name of a file says of its format.

use std::path::Path;

/// The format that the ending of a name stands for, `.gz` left aside.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use kwsync_core::config::format_by_ending;
///
/// assert_eq!(format_by_ending(Path::new("day/cpu.lp.gz")), Some("line_influxdb"));
/// assert_eq!(format_by_ending(Path::new("out")), None);
/// ```
pub fn format_by_ending(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    Some(match name.rsplit_once('.')?.1 {
        "lp" | "influx" | "line" => "line_influxdb",
        "csv" => "csv",
        "json" | "ndjson" | "jsonl" => "json",
        "parquet" | "parq" => "parquet",
        "arrow" | "feather" | "ipc" => "arrow",
        "txt" | "tsv" | "text" => "text",
        _ => return None,
    })
}
