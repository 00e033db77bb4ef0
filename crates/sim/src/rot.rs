//! Rot in a node's journal: the one file that says what there is. What a broken slot said is lost with it: a shard or a record may be
//! gone, a deleted one back, a moved one unreadable ([`holdfast_volume::OpenReport`]). The node goes on with the rest, and the cluster
//! has to find out.

use std::collections::BTreeSet;

use holdfast_types::ShardId;

use crate::{
    plan::Fault,
    world::{Event, World},
};

/// Where slots begin, behind the header's pages (docs/formats/volume.md).
const SLOTS_AT: u64 = 12_288;
/// The watermark's page, and the bytes of it.
const WATERMARK: (u64, u64) = (4_096, 32);
/// A header copy's bytes. The other copy stays whole: with both gone there is no volume, which is another fault.
const HEADER_COPY: u64 = 128;

/// A running node is started anew within this, so that all damage is done when faults are over.
const RESTART_WITHIN: u64 = 3_500;

impl World {
    /// Whether it was done.
    pub(crate) fn rot_journal(&mut self, node: usize, bits: u64, running: bool, down: u64) -> bool {
        if self.marks[node].down || self.marks[node].rotten || !self.may_lose(node) {
            return false;
        }
        let disk = self.nodes[node].disk.clone();
        let journal = disk.files().into_iter().rfind(|(name, len)| name.starts_with("journal") && *len > SLOTS_AT);
        let Some((name, len)) = journal else { return false };
        for _ in 0..bits {
            let at = match self.chance.below(12) {
                0 => WATERMARK.0 + self.chance.below(WATERMARK.1),
                1 => self.chance.below(HEADER_COPY),
                _ => self.chance.within(SLOTS_AT..len),
            };
            let bit = self.chance.below(8) as u8;
            drop(disk.flip(&name, at, bit));
        }
        (self.marks[node].rotten, self.marks[node].rotted) = (true, true);
        if running {
            // What it holds in memory is whole: only a start tells.
            self.queue_in(down.min(RESTART_WITHIN), Event::Fault(Fault::Kill { node, down: 400 }));
            return true;
        }
        self.kill(node, down)
    }

    /// A node started on a journal that rotted: whatever the catalog believes it to hold and it does not is our doing.
    pub(crate) fn started_on_rot(&mut self, node: usize) {
        self.marks[node].rotten = false;
        let (id, held) = (self.nodes[node].id, self.held(node));
        let believed = self.catalog.places().filter(|place| place.node == id).map(|place| place.shard);
        let taken = self.marks[node].took.iter().copied();
        let gone: BTreeSet<ShardId> = believed.chain(taken).filter(|shard| !held.contains(shard)).collect();
        let lost = gone.difference(&self.marks[node].harmed).count();
        if lost > 0 {
            *self.report.kinds.entry("shard gone with its journal slot").or_default() += lost as u64;
        }
        self.harm(node, &gone);
    }
}
