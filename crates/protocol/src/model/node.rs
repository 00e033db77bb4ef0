//! A node as the catalog knows it, and where it stands in its life.

use holdfast_types::{AuditId, Incarnation, NodeId, PublicKey, VolumeId, Wall, ZoneName};

use super::verdict::Outcome;

/// Where a node stands in its life with this cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NodeLife {
    /// Registered, not yet trusted with much.
    Joining,
    /// Takes new shards and is audited.
    Active,
    /// Silent of late: the same challenge is put again, no new shards.
    Contained,
    /// Its shards count as lost; still audited, may come back.
    Suspended,
    /// Gone for good: what it held is repaired elsewhere.
    Evicted,
    /// Leaving on its own wish; its shards are being moved.
    Draining,
    /// Left with nothing on it.
    Left,
}

impl NodeLife {
    /// Whether new shards may be placed there.
    pub fn takes_shards(self) -> bool {
        match self {
            NodeLife::Joining | NodeLife::Active => true,
            NodeLife::Contained | NodeLife::Suspended | NodeLife::Evicted | NodeLife::Draining | NodeLife::Left => {
                false
            }
        }
    }

    /// Whether it is challenged.
    pub fn is_audited(self) -> bool {
        match self {
            NodeLife::Joining | NodeLife::Active | NodeLife::Contained | NodeLife::Suspended | NodeLife::Draining => {
                true
            }
            NodeLife::Evicted | NodeLife::Left => false,
        }
    }
}

/// A silence being followed up with the same challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Containment {
    /// The challenge that stayed unanswered; it alone, and then a fresh one, ends the containment.
    pub audit: AuditId,
    /// When the silence began.
    pub since: Wall,
    /// Repetitions made so far.
    pub attempts: u32,
    /// When the next one is due.
    pub next: Wall,
    /// What the first silence was: the word used if it ends in loss.
    pub outcome: Outcome,
}

/// A node as the catalog knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRow {
    /// Hash of its receipt key.
    pub id: NodeId,
    /// Its receipt key.
    pub key: PublicKey,
    /// `host:port`, in the order to try; may change at each registration.
    pub addresses: Vec<String>,
    /// Declared failure domain.
    pub zone: ZoneName,
    /// Who runs it, as declared.
    pub operator: String,
    /// Where it stands.
    pub life: NodeLife,
    /// Set while `life` is `Contained`.
    pub containment: Option<Containment>,
    /// Its volume; another one means that the node was wiped.
    pub volume: VolumeId,
    /// Its life between two losses of its volume.
    pub incarnation: Incarnation,
    /// Bytes it offers.
    pub capacity: u64,
    /// Bytes of committed placements and live reservations there.
    pub used: u64,
    /// When it registered first.
    pub joined: Wall,
    /// Last signed word from it.
    pub seen: Wall,
    /// Last verdict of any kind, for the silence alarm and the schedule after a restart.
    pub judged: Option<Wall>,
    /// Rises with every change; compare-and-swap on it.
    pub version: u64,
}
