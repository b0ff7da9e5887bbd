//! What people have already, and the specs that it becomes. `KWSYNC_BLESS=1` writes the specs anew, to be read before they
//! are committed.

use std::path::{Path, PathBuf};

use kwsync_core::Result;
use kwsync_core::config::Expand;
use kwsync_core::spec::kafka_connect::{self, Worker};
use kwsync_core::spec::{Translation, datax, taosx};
use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Reads every file of a folder and compares what it becomes with the `.spec` file beside it.
fn compare(name: &str, read: impl Fn(&str, &str) -> Result<Translation>) -> usize {
    let mut files: Vec<_> =
        std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_none_or(|ending| ending != "spec"));
    files.sort();
    for path in &files {
        let shown = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let read = read(shown, &text).unwrap_or_else(|error| panic!("{shown}: {}", error.report()));
        for spec in &read.specs {
            spec.build_transforms(&Expand::from_environment()).unwrap();
            let again: kwsync_core::spec::PipelineSpec =
                serde_json::from_value(serde_json::to_value(spec).unwrap()).unwrap();
            assert_eq!(&again, spec, "{shown}");
            assert!(!format!("{spec:?}").contains("kwdb@123"), "{shown} shows a password");
        }
        let found = json!({"specs": read.specs, "notes": read.notes});
        let golden = path.with_extension("spec");
        if std::env::var_os("KWSYNC_BLESS").is_some() {
            std::fs::write(&golden, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
            continue;
        }
        let kept =
            std::fs::read_to_string(&golden).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
        assert_eq!(found, serde_json::from_str::<Value>(&kept).unwrap(), "{shown}");
    }
    files.len()
}

#[test]
fn jobs_of_datax() {
    assert_eq!(compare("datax", datax::read), 8);
}

#[test]
fn configurations_of_kafka_connect() {
    let worker = Worker::new("broker:9092").unwrap();
    assert_eq!(compare("kafka-connect", |name, text| kafka_connect::read(name, text, &worker)), 2);
}

#[test]
fn command_lines_of_taosx() {
    assert_eq!(compare("taosx", |_, text| taosx::read(text)), 15);
}
