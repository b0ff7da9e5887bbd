//! How changes are followed.

use crate::relational::changes::{Extent, Operations, Order};

/// How the changes of tables are followed.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct ChangesOptions {
    pub(in super::super) extent: Extent,
    /// The job, by which the replica is known.
    pub(in super::super) job: Option<String>,
    /// The number of the replica; one made of the job's name and of what it follows when it is not given.
    pub(in super::super) server_id: Option<u32>,
    /// Whether tables without a key are followed, by their inserts.
    pub(in super::super) keyless: bool,
    /// Whether the target does what foreign keys do to rows in the source.
    pub(in super::super) cascades: bool,
    pub(in super::super) order: Order,
    pub(in super::super) operations: Operations,
}

impl ChangesOptions {
    /// The number and the name of the replica, by which the server tells it from others.
    pub(super) fn replica(&self, what: &str) -> (u32, String) {
        // Jobs of one name, of several configurations, may follow several databases. FNV-1a.
        let job = self.job.as_deref().unwrap_or_default();
        let hash =
            job.bytes().chain([0]).chain(what.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        // Far from the small numbers that people give their servers.
        let own = 0x4000_0000 | (hash as u32 & 0x3fff_ffff);
        (self.server_id.unwrap_or(own), format!("kwsync-{:016x}", hash))
    }
}
