//! Offsets of a consumer group that a sink of the same cluster keeps in its transactions.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::consumer::ConsumerGroupMetadata;
use serde::{Deserialize, Serialize};

use super::ClientOptions;
use crate::{Error, Result, SplitPosition};

/// Where reading goes on in a partition: the position of its checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The message.
    pub offset: i64,
    /// Bytes of it that have been read already.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Place {
    /// As the position of a checkpoint.
    pub fn position(self) -> SplitPosition {
        // Two numbers can always be written.
        SplitPosition(serde_json::to_value(self).unwrap_or_default())
    }

    /// The place of a checkpoint.
    ///
    /// # Errors
    /// `Config` for a position of something else.
    pub fn of(position: &SplitPosition) -> Result<Self> {
        Self::deserialize(&position.0).map_err(|fault| {
            Error::config(format!("a checkpoint of Kafka cannot be read: {}", position.0))
                .with_source(fault)
                .with_hint("start over with --restart")
        })
    }

    /// What stands beside the offset where a message has been read in part; empty otherwise.
    pub fn note(self) -> String {
        if self.skip == 0 { String::new() } else { format!("skip={}", self.skip) }
    }

    /// The place of an offset and what [stands beside it](Self::note).
    pub fn of_note(offset: i64, note: &str) -> Self {
        let skip = note.strip_prefix("skip=").and_then(|skip| skip.parse().ok()).unwrap_or_default();
        Self { offset, skip }
    }
}

/// A partition that a member of the group has.
#[derive(Clone)]
pub struct Membership {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Which member has it, and since which division of the group: offsets of who has lost it since are refused.
    pub member: Arc<ConsumerGroupMetadata>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// The offsets of a group, which a source and a sink of one cluster have in common: the sink sends them with the rows, in
/// one transaction, and the source commits none then.
///
/// # Examples
/// ```
/// use kwsync_core::system::kafka::{ClientOptions, GroupOffsets};
///
/// let offsets = GroupOffsets::new(&ClientOptions::new("b1:9092,b2:9092"), "g");
/// assert!(offsets.is_of(&ClientOptions::new("b2:9092")) && !offsets.is_kept());
/// ```
#[derive(Debug)]
pub struct GroupOffsets {
    brokers: BTreeSet<String>,
    group: String,
    kept: AtomicBool,
    parts: Mutex<HashMap<Arc<str>, Membership>>,
}

impl GroupOffsets {
    /// The offsets of a group, which the source commits.
    pub fn new(client: &ClientOptions, group: impl Into<String>) -> Self {
        Self {
            brokers: client.brokers().split(',').map(str::to_owned).collect(),
            group: group.into(),
            kept: AtomicBool::new(false),
            parts: Mutex::default(),
        }
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Whether a client is of the same cluster, as far as the addresses say: they have a broker in common.
    pub fn is_of(&self, client: &ClientOptions) -> bool {
        client.brokers().split(',').any(|broker| self.brokers.contains(broker))
    }

    /// From now on a sink keeps them.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Whether a sink keeps them.
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    fn parts(&self) -> MutexGuard<'_, HashMap<Arc<str>, Membership>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who has a partition, under the name of its checkpoints.
    pub fn join(&self, part: Arc<str>, membership: Membership) {
        self.parts().insert(part, membership);
    }

    /// Says that this member has it no more.
    pub fn leave(&self, part: &str, member: &Arc<ConsumerGroupMetadata>) {
        let mut parts = self.parts();
        if parts.get(part).is_some_and(|known| Arc::ptr_eq(&known.member, member)) {
            parts.remove(part);
        }
    }

    /// Who has a partition.
    pub fn membership(&self, part: &str) -> Option<Membership> {
        self.parts().get(part).cloned()
    }
}
