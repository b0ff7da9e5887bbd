//! The files that a path, a pattern or a directory stands for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kwsync_core::{Error, ErrorKind, Result};

/// The files, in the order of their names. A path that exists is itself, whatever characters it has; below a
/// directory come all files but those whose name starts with `.` or `_` or ends in `.part`. Folders that are
/// linked there are not walked, since a link to a folder above would bring every file many times; `**` of a pattern
/// brings such files once.
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
                .with_hint("names that start with `.` or `_` and those that end in .part do not count, nor does what is in linked folders"));
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
            if path.contains("**") {
                once_a_folder(&mut files);
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

/// Of the ways to one folder, through links, the one with the fewest steps stays.
fn once_a_folder(files: &mut Vec<PathBuf>) {
    files.sort_by_cached_key(|file| (file.components().count(), file.clone()));
    let mut real: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut ways: HashMap<PathBuf, PathBuf> = HashMap::new();
    files.retain(|file| {
        let Some(way) = file.parent() else { return true };
        let folder = real
            .entry(way.to_owned())
            .or_insert_with(|| way.canonicalize().unwrap_or_else(|_| way.to_owned()));
        match ways.get(folder) {
            Some(known) => known == way,
            None => ways.insert(folder.clone(), way.to_owned()).is_none(),
        }
    });
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
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, files)?;
        } else if !path.is_dir() {
            files.push(path);
        }
    }
    Ok(())
}
