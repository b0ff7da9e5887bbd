//! The files that a path, a pattern or a directory stands for.

use std::path::{Path, PathBuf};

use kwsync_core::{Error, ErrorKind, Result};

/// The files, in the order of their names. A path that exists is itself, whatever characters it has; below a
/// directory come all files but those whose name starts with `.` or `_` or ends in `.part`.
pub(super) fn find(path: &str) -> Result<Vec<PathBuf>> {
    let itself = Path::new(path);
    let mut files = Vec::new();
    match std::fs::metadata(itself) {
        Ok(metadata) if metadata.is_dir() => {
            walk(itself, &mut files)?;
            if files.is_empty() {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("there are no files in the directory {path}"),
                )
                .with_hint("names that start with `.` or `_` and those that end in .part do not count"));
            }
        }
        Ok(_) => files.push(itself.to_owned()),
        Err(error) if !path.contains(['*', '?', '[']) => {
            return Err(Error::io(format_args!("cannot open {path}"), error));
        }
        Err(_) => {
            let pattern = glob::glob(path).map_err(|error| {
                Error::config(format!("the pattern {path} is wrong: {}", error.msg))
                    .with_hint("write [[] for a plain [")
            })?;
            for found in pattern {
                let found = found.map_err(|error| {
                    let what = format!("cannot look into {}", error.path().display());
                    Error::io(what, error.into())
                })?;
                if !found.is_dir() {
                    files.push(found);
                }
            }
            if files.is_empty() {
                return Err(Error::new(ErrorKind::NotFound, format!("no file matches {path}"))
                    .with_hint("check the pattern: * is any text, ? any one character, ** any folders"));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error| Error::io(format_args!("cannot look into {}", directory.display()), error);
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(['.', '_']) || name.ends_with(".part") {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
