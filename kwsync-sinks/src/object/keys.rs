//! The keys of objects, and where the state of a job is.

use super::Layout;
use crate::file::names;

/// The folder for what is not data.
const HIDDEN: &str = ".kwsync";

impl Layout {
    /// The key of object `number` that `lane` of the run `token` writes; `folder` is the table's name, encoded.
    pub(super) fn key(&self, folder: &str, token: u128, lane: usize, number: u64, ending: &str) -> String {
        match self {
            Self::Folders(base) => format!("{base}{folder}/{token}-{lane}-{number:06}.{ending}"),
            Self::Prefix(prefix) => {
                let between = if prefix.ends_with('/') { "" } else { "_" };
                format!("{prefix}{between}{folder}-{token}-{lane}-{number:06}.{ending}")
            }
            // No two runs begin in one nanosecond; a dot would end the number.
            Self::Dir(dir) => format!("{dir}{folder}.{token}{lane:02}{number:06}"),
        }
    }

    /// Where the state of a job is, with a `/` at its end.
    pub(super) fn state(&self, job: &str) -> String {
        let base = match self {
            Self::Folders(base) | Self::Dir(base) => base.as_str(),
            Self::Prefix(prefix) => prefix.rfind('/').and_then(|at| prefix.get(..=at)).unwrap_or_default(),
        };
        format!("{base}{HIDDEN}/{}/", names::job(job))
    }

    /// Where the objects of a table go, for people.
    pub(super) fn place(&self, folder: &str) -> String {
        match self {
            Self::Folders(base) => format!("{base}{folder}/"),
            Self::Prefix(prefix) => format!("{prefix}*"),
            Self::Dir(dir) => format!("{dir}{folder}.NUMBER"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let folders = Layout::Folders("out/".to_owned());
        assert_eq!(folders.key("cpu", 17, 1, 2, "lp.gz"), "out/cpu/17-1-000002.lp.gz");
        assert_eq!(folders.state("job"), "out/.kwsync/job/");
        let prefix = Layout::Prefix("osstest/exp/outfromhdb".to_owned());
        assert_eq!(prefix.key("cpu", 17, 1, 2, "csv"), "osstest/exp/outfromhdb_cpu-17-1-000002.csv");
        assert_eq!(prefix.state("a/b"), "osstest/exp/.kwsync/a%2Fb/");
        assert_eq!(Layout::Prefix("x".to_owned()).state("j"), ".kwsync/j/");
        let dir = Layout::Dir("osstest/exp/".to_owned());
        assert_eq!(dir.key("cpu", 17, 1, 2, "csv"), "osstest/exp/cpu.1701000002");
        assert_eq!(Layout::Folders(String::new()).key("cpu", 17, 0, 0, "csv"), "cpu/17-0-000000.csv");
    }
}
