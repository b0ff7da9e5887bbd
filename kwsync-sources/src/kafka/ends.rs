//! Whether all has come that the partitions of a reader hold. Silence does not tell: brokers, or this machine, may be busy.
//! By its events of the end librdkafka does not tell either: where messages are taken by the hundred, it counts one as a
//! message, and passes over the next message when it fetches anew. Its statistics do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::batch::Part;

/// For so long after a change the statistics may still be of the time before: the client's threads look up once a second.
const STALE: Duration = Duration::from_secs(2);

/// How often the client is to tell its statistics, where a job ends after this silence.
pub(super) fn interval(timeout: Duration) -> Duration {
    (timeout / 5).clamp(Duration::from_millis(100), Duration::from_secs(1))
}

/// What has been fetched to its end and taken.
#[derive(Debug, Default)]
pub(super) struct Ends {
    ended: HashSet<Arc<str>>,
    /// Whether the reader knows that this holds for all.
    told: bool,
    /// Partitions that this client has had.
    known: HashSet<Arc<str>>,
    /// Whether one of these has come back with the division that is under way.
    back: bool,
    /// Until when nothing is known of partitions that came back.
    unknown: Option<Instant>,
    /// Until when the client may say that it has fetched what it has thrown away since: what is paused is fetched again.
    thrown_away: Option<Instant>,
}

/// The part of the statistics that counts here.
#[derive(Debug, Deserialize)]
struct Statistics {
    topics: HashMap<String, Topic>,
}

#[derive(Debug, Deserialize)]
struct Topic {
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    /// Messages that wait to be taken.
    fetchq_cnt: i64,
    /// What is fetched next.
    next_offset: i64,
    /// The end, as the last answer of the broker told it; -1001 while there was none.
    hi_offset: i64,
    /// The end of what is in no open transaction.
    ls_offset: i64,
}

impl Ends {
    /// A message has come.
    pub(super) fn goes_on(&mut self, part: &Part) {
        if !self.ended.is_empty() && self.ended.remove(&part.id) {
            self.told = false;
        }
    }

    /// Partitions are about to begin.
    pub(super) fn taken(&mut self, parts: &[Arc<Part>]) {
        self.told = false;
        for part in parts {
            self.ended.remove(&part.id);
            self.back |= !self.known.insert(Arc::clone(&part.id));
        }
    }

    /// It is known where they begin.
    pub(super) fn begun(&mut self) {
        if std::mem::take(&mut self.back) {
            self.unknown = Some(Instant::now() + STALE);
        }
    }

    /// Partitions have gone away.
    pub(super) fn given_up(&mut self, ids: &[Arc<str>]) {
        self.ended.retain(|id| !ids.contains(id));
        self.told = false;
    }

    /// Partitions that were paused go on.
    pub(super) fn resumed(&mut self) {
        self.ended.clear();
        self.told = false;
        self.thrown_away = Some(Instant::now() + STALE);
    }

    /// Whether all `parts` have come to their end, and nobody has said so.
    pub(super) fn is_news(&mut self, parts: usize) -> bool {
        let all = parts > 0 && self.ended.len() == parts && !self.told;
        self.told |= all;
        all
    }

    /// Takes in what the client tells; what it was told before, and what cannot be read, tells nothing.
    pub(super) fn look<'a>(&mut self, statistics: &[u8], parts: impl Iterator<Item = &'a Arc<Part>>) {
        let now = Instant::now();
        if self.told || self.unknown.is_some_and(|until| now < until) {
            return;
        }
        let fresh = self.thrown_away.is_none_or(|until| now >= until);
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        for part in parts {
            let topic = statistics.topics.get(&*part.topic);
            let Some(seen) = topic.and_then(|topic| topic.partitions.get(&part.partition)) else { continue };
            let end = if seen.ls_offset >= 0 { seen.ls_offset } else { seen.hi_offset };
            // The last offsets may be of no message: of marks of transactions, or of what was compacted away.
            let fetched = fresh && seen.fetchq_cnt == 0 && seen.next_offset >= end;
            if end >= 0 && (part.next() >= end || fetched) {
                self.ended.insert(Arc::clone(&part.id));
            } else {
                self.ended.remove(&part.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(next: i64, end: i64, waiting: i64) -> String {
        format!(
            r#"{{"name":"x","topics":{{"t":{{"topic":"t","partitions":{{"0":{{"partition":0,"fetchq_cnt":{waiting},"next_offset":{next},"hi_offset":{end},"ls_offset":{end}}},"-1":{{"fetchq_cnt":0,"next_offset":-1001,"hi_offset":-1001,"ls_offset":-1001}}}}}}}}}}"#
        )
    }

    #[test]
    fn the_end_is_what_has_been_fetched_and_taken() {
        let part = Arc::new(Part::new("t", 0));
        let mut ends = Ends::default();
        ends.taken(std::slice::from_ref(&part));
        ends.begun();
        for (next, end, waiting, ended) in
            [(-1001, -1001, 0, false), (5, 9, 0, false), (9, 9, 3, false), (9, 9, 0, true)]
        {
            ends.look(told(next, end, waiting).as_bytes(), [&part].into_iter());
            assert_eq!(ends.is_news(1), ended, "{next} {end} {waiting}");
        }
        // Told once; a message takes it back.
        assert!(!ends.is_news(1));
        ends.goes_on(&part);
        ends.look(told(9, 9, 0).as_bytes(), [&part].into_iter());
        assert!(ends.is_news(1));
        // What was paused is fetched again, though the client says that it has fetched it; what has come is known.
        ends.resumed();
        part.set_next(7);
        ends.look(told(9, 9, 0).as_bytes(), [&part].into_iter());
        assert!(!ends.is_news(1));
        part.set_next(9);
        ends.look(told(9, 9, 0).as_bytes(), [&part].into_iter());
        assert!(ends.is_news(1));
        // Of a partition that came back nothing is known for a while.
        ends.given_up(&[Arc::clone(&part.id)]);
        ends.taken(std::slice::from_ref(&part));
        ends.begun();
        ends.look(told(9, 9, 0).as_bytes(), [&part].into_iter());
        assert!(!ends.is_news(1));
        assert!(!Ends::default().is_news(0));
    }
}
