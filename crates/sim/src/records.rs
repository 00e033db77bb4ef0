//! What a recovery from the nodes alone would find: what was deleted, and is buried on every node that may have had it, must not stand
//! again, whoever was away meanwhile and comes back with all its records.

use std::collections::BTreeSet;

use holdfast_dispersal::{OwnerKey, Signed, Tombstone};
use holdfast_protocol::{
    message::{RecordKind, descriptor_key},
    recover::Findings,
};
use holdfast_types::ObjectId;

use crate::{message::Peer, world::World};

const PROMISE: &str = "what was deleted is not resurrected";

impl World {
    pub(crate) fn tombstone(&self, key: &OwnerKey, object: ObjectId) -> Vec<u8> {
        let deleted = self.wall_of(Peer::Client(0));
        let tombstone = Tombstone { version: 1, object, owner: key.owner_id(), deleted };
        Signed::sign(tombstone, &key.signing()).map(|signed| signed.bytes().to_vec()).unwrap_or_default()
    }

    /// The catalog is burnt, and everything that is on any disk is read back; then the catalog is there again. `all`: also from nodes whose
    /// journal rotted at some time, which may have had back what was deleted until somebody listed it.
    pub(crate) fn look_at_records(&mut self, all: bool) {
        let owed = self.catalog.owed_tombstones();
        let deleted: BTreeSet<ObjectId> = self.ledger.deleted().map(|(_, id)| id).collect();
        // Until every node that may have its records keeps the tombstone, a deletion is the catalog's alone.
        let buried: BTreeSet<ObjectId> = deleted.into_iter().filter(|id| !owed.contains(id.as_bytes())).collect();
        if buried.is_empty() {
            return;
        }
        let mut findings = Findings::default();
        let read = self.nodes.iter().zip(&self.marks).filter(|(_, mark)| all || !mark.rotted);
        let records: Vec<_> = read.flat_map(|(node, _)| node.records()).collect();
        for (kind, key, bytes) in records {
            if let Err(error) = findings.absorb(kind, key, &bytes) {
                return self.break_promise("records that read back whole are records", format!("{kind:?}: {error}"));
            }
        }
        let risen = findings.objects().map(|(_, id, _)| id).find(|id| buried.contains(id));
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
