//! Real files, where they are at hand.

use std::path::PathBuf;

/// The folder of sample files: `KWSYNC_TEST_DATA`, else beside the workspace.
fn files() -> Vec<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let folder = std::env::var("KWSYNC_TEST_DATA").unwrap_or_else(|_| beside.to_owned());
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: no sample data in {folder}; set KWSYNC_TEST_DATA");
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "lp" || e == "influx"));
    files.sort();
    files
}

#[test]
fn every_line_is_read() {
    for path in files() {
        let input = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&input);
        let count = text.lines().filter(|l| !l.trim().is_empty() && !l.trim().starts_with('#')).count();
        let mut points = 0;
        for line in kwsync_formats::influx::lines(&input) {
            let line = line.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut out = Vec::new();
            kwsync_formats::influx::write_point(&line, Default::default(), &mut out).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(json["line"], line.position().line);
            points += 1;
        }
        assert_eq!(points, count, "{}", path.display());
        #[cfg(feature = "arrow")]
        decoded(&path, &input, count);
    }
}

/// The whole way to batches: nothing refused but what a table cannot take, nothing lost.
#[cfg(feature = "arrow")]
fn decoded(path: &std::path::Path, input: &[u8], count: usize) {
    let cuts: Vec<usize> = (0..input.len()).step_by(4096).collect();
    let output = crate::output::decode(input, &cuts, crate::output::options(), false);
    let rows: usize = output.tables.values().map(Vec::len).sum();
    assert_eq!(output.rejects, [], "{}", path.display());
    assert_eq!(rows, count, "{}", path.display());
}
