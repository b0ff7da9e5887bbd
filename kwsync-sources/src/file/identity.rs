//! Whether a file is still the one that it was.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use kwsync_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Bytes at the start of a file that are hashed.
const HEAD_BYTES: u64 = 4 << 10;

/// What a file is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// 0 where the system has none.
    pub(super) inode: u64,
    pub(super) len: u64,
    /// Bytes that `head` covers.
    head_len: u64,
    head: u64,
}

impl Identity {
    /// Reads it from a regular file, and leaves the file at its start.
    pub(super) fn of(path: &Path, file: &mut File) -> Result<Self> {
        let failed = |error| Error::io(format_args!("cannot read {}", path.display()), error);
        let metadata = file.metadata().map_err(failed)?;
        let len = metadata.len();
        let head_len = len.min(HEAD_BYTES);
        Ok(Self { inode: inode(&metadata), len, head_len, head: head(file, head_len).map_err(failed)? })
    }

    /// Whether `file` is still the file known as `self`; it may have grown. Returns its present length.
    pub(super) fn verify(&self, path: &Path, file: &mut File) -> Result<u64> {
        let failed = |error| Error::io(format_args!("cannot read {}", path.display()), error);
        let metadata = file.metadata().map_err(failed)?;
        let len = metadata.len();
        let what = if inode(&metadata) != self.inode {
            format!("it is another file now (inode {} instead of {})", inode(&metadata), self.inode)
        } else if len < self.len {
            format!("it has shrunk from {} to {len} bytes", self.len)
        } else if head(file, self.head_len).map_err(failed)? != self.head {
            format!("its first {} bytes are others", self.head_len)
        } else {
            return Ok(len);
        };
        Err(Error::new(
            ErrorKind::NotFound,
            format!("{} was changed since the job began: {what}", path.display()),
        )
        .with_hint("put the old file back, or begin anew with --restart or another --job"))
    }
}

fn inode(metadata: &std::fs::Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    {
        let _ = metadata;
        0
    }
}

/// FNV-1a of the first bytes: a hash that stays the same from one version of this program to the next.
fn head(file: &mut File, len: u64) -> std::io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
}
