//! What a recovery from the nodes alone would find: what was deleted, and has a tombstone on any disk, must never stand again, whoever was
//! away meanwhile and comes back with all its records, and whenever the tombstones go.

use std::collections::BTreeSet;

use holdfast_dispersal::{OwnerKey, Signed, Tombstone};
use holdfast_protocol::{
    message::{RecordKind, descriptor_key},
    recover::Findings,
};
use holdfast_types::ObjectId;

use crate::{
    message::Peer,
    world::{Event, World},
};

const PROMISE: &str = "what was deleted is not resurrected";
/// When after a deletion a recovery is tried, in ms.
const BURNS: [u64; 4] = [150, 600, 4_000, 15_000];

impl World {
    pub(crate) fn tombstone(&self, key: &OwnerKey, object: ObjectId) -> Vec<u8> {
        let deleted = self.wall_of(Peer::Client(0));
        let tombstone = Tombstone { version: 1, object, owner: key.owner_id(), deleted };
        Signed::sign(tombstone, &key.signing()).map(|signed| signed.bytes().to_vec()).unwrap_or_default()
    }

    /// Something was deleted: the catalog burns while the word of it spreads, and after.
    pub(crate) fn burn_soon(&mut self) {
        for delay in BURNS {
            self.queue_in(delay, Event::Burn);
        }
    }

    /// The catalog is burnt, and everything that is on any disk is read back; then the catalog is there again. `all`: also from nodes whose
    /// journal rotted at some time, which may have had back what was deleted until somebody listed it.
    pub(crate) fn look_at_records(&mut self, all: bool) {
        let deleted: BTreeSet<ObjectId> = self.ledger.deleted().map(|(_, id)| id).collect();
        let mut findings = Findings::default();
        for at in 0..self.nodes.len() {
            if self.marks[at].rotted && !all {
                continue;
            }
            for (kind, key, bytes) in self.nodes[at].records() {
                let object = ObjectId::from_bytes(key);
                if kind == RecordKind::Tombstone && !self.marks[at].hit {
                    self.ledger.tombstones.entry(object).or_default().insert(at);
                } else if deleted.contains(&object) && kind == RecordKind::Envelope {
                    *self.report.kinds.entry("envelope of a deleted object found").or_default() += 1;
                }
                if let Err(error) = findings.absorb(kind, key, &bytes) {
                    return self
                        .break_promise("records that read back whole are records", format!("{kind:?}: {error}"));
                }
            }
        }
        // Before a tombstone is on a disk, a deletion is the catalog's alone; a disk that is damaged may lose it again.
        let seen = |id: &ObjectId| {
            let nodes = self.ledger.tombstones.get(id).into_iter().flatten();
            nodes.filter(|at| !self.marks[**at].hit).count() > 0
        };
        let risen = findings.objects().map(|(_, id, _)| id).find(|id| deleted.contains(id) && (all || seen(id)));
        if let Some(id) = risen {
            self.break_promise(PROMISE, format!("a recovery from the nodes would bring object {id} back"));
        }
    }

    /// A record of something that was deleted, or a tombstone that has outlived what it buries.
    pub(crate) fn leftover_record(&mut self) -> Option<String> {
        let deleted: BTreeSet<[u8; 32]> = self.ledger.deleted().map(|(_, id)| *id.as_bytes()).collect();
        let segments: BTreeSet<[u8; 32]> = self.catalog.segments().into_iter().map(descriptor_key).collect();
        let stray = |kind: &RecordKind, key: &[u8; 32]| match kind {
            RecordKind::Tombstone => true,
            RecordKind::Manifest | RecordKind::Envelope => deleted.contains(key),
            RecordKind::Descriptor => !segments.contains(key),
            RecordKind::Page => false,
        };
        self.nodes.iter().enumerate().find_map(|(at, node)| {
            let records = node.records();
            let (kind, key, _) = records.into_iter().find(|(kind, key, _)| stray(kind, key))?;
            Some(format!("node {at} still has a {kind:?} {}", crate::network::short(&key)))
        })
    }
}
