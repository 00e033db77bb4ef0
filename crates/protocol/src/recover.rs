//! What the records of a cluster's nodes say is stored, when the catalog is gone: the part of a recovery that decides.
//! Reads nothing, writes nothing: whoever recovers feeds it every record of every node, in whatever order they come.
//!
//! An object stands when its manifest is there, and an envelope that its owner signed and that no tombstone outranks. A node that was away
//! while an object was deleted still has manifest and envelope; one tombstone from anywhere else buries them. Nodes are believed in
//! nothing: manifests are their own names, envelopes and tombstones carry their owner's signature.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_dispersal::{Envelope, Manifest, RecordError, Tombstone};
use holdfast_types::{ObjectId, OwnerId};

use crate::message::RecordKind;

/// An object of an owner.
type Whose = (OwnerId, ObjectId);

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Records that were read already: n nodes keep copies of one, and its signature is verified once.
    read: BTreeSet<(RecordKind, [u8; 32], [u8; 32])>,
    manifests: BTreeSet<ObjectId>,
    /// The newest envelope's version and bytes.
    envelopes: BTreeMap<Whose, (u64, Vec<u8>)>,
    /// The highest version that is buried.
    tombstones: BTreeMap<Whose, u64>,
}

impl Findings {
    /// Takes in a record that a node gave under this kind and key. Pages and descriptors say nothing about whether an object stands.
    ///
    /// # Errors
    /// It is not what its kind and key say; it counts as not there, and other nodes may have a good copy.
    pub fn absorb(&mut self, kind: RecordKind, key: [u8; 32], bytes: &[u8]) -> Result<(), RecordError> {
        if !self.read.insert((kind, key, *blake3::hash(bytes).as_bytes())) {
            return Ok(());
        }
        let object = ObjectId::from_bytes(key);
        match kind {
            RecordKind::Manifest => {
                Manifest::decode_as(&object, bytes)?;
                self.manifests.insert(object);
            }
            RecordKind::Envelope => {
                let envelope = Envelope::decode(bytes)?;
                let (whose, version) = ((envelope.body().owner, envelope.body().object), envelope.body().version);
                if self.envelopes.get(&whose).is_none_or(|(newest, _)| version > *newest) {
                    self.envelopes.insert(whose, (version, bytes.to_vec()));
                }
            }
            RecordKind::Tombstone => {
                let tombstone = Tombstone::decode(bytes)?;
                let body = tombstone.body();
                let highest = self.tombstones.entry((body.owner, body.object)).or_default();
                *highest = body.version.max(*highest);
            }
            RecordKind::Page | RecordKind::Descriptor => {}
        }
        Ok(())
    }

    /// The objects that stand, with their envelopes.
    pub fn objects(&self) -> impl Iterator<Item = (OwnerId, ObjectId, &[u8])> {
        let stands = |(whose, (version, _)): &(&Whose, &(u64, Vec<u8>))| {
            let outranked = self.tombstones.get(whose).is_some_and(|buried| buried >= version);
            self.manifests.contains(&whose.1) && !outranked
        };
        let found = self.envelopes.iter().filter(stands);
        found.map(|((owner, object), (_, envelope))| (*owner, *object, envelope.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use holdfast_dispersal::{Description, ObjectKey, OwnerKey, RunSalt, Sealer, Signed};
    use holdfast_types::{Code, Wall};

    use super::*;

    type Record = (RecordKind, [u8; 32], Vec<u8>);

    struct Stored {
        owner: OwnerKey,
        object: ObjectId,
        manifest: Record,
    }

    impl Stored {
        fn new(owner: u8) -> Self {
            let (owner, key) = (OwnerKey::from_bytes([owner; 32]), ObjectKey::from_bytes([9; 32]));
            let sealer = Sealer::new(key, RunSalt([3; 32])).unwrap();
            let sealed = sealer.finish(Description::default()).unwrap();
            let object = sealed.object_id();
            let manifest = (RecordKind::Manifest, *object.as_bytes(), sealed.manifest.bytes().to_vec());
            Self { owner, object, manifest }
        }

        fn envelope(&self, version: u64) -> Record {
            let envelope = Envelope {
                version,
                object: self.object,
                owner: self.owner.owner_id(),
                key: self.owner.wrap_object_key(&self.object, &ObjectKey::from_bytes([9; 32])),
                policy: "p".into(),
                code: Code::new(2, 1).unwrap(),
                retain_until: None,
                created: Wall(1),
                names: vec![],
            };
            let bytes = Signed::sign(envelope, &self.owner.signing()).unwrap().bytes().to_vec();
            (RecordKind::Envelope, *self.object.as_bytes(), bytes)
        }

        fn tombstone(&self, version: u64) -> Record {
            let (object, owner) = (self.object, self.owner.owner_id());
            let tombstone = Tombstone { version, object, owner, deleted: Wall(2) };
            let bytes = Signed::sign(tombstone, &self.owner.signing()).unwrap().bytes().to_vec();
            (RecordKind::Tombstone, *object.as_bytes(), bytes)
        }
    }

    /// What stands after these records, which must not depend on their order.
    fn standing(records: &[Record]) -> Vec<(OwnerId, ObjectId)> {
        let mut answers = Vec::new();
        let mut order: Vec<usize> = (0..records.len()).collect();
        for _ in 0..records.len() {
            order.rotate_left(1);
            for reversed in [false, true] {
                let mut findings = Findings::default();
                let order: Vec<usize> = if reversed { order.iter().rev().copied().collect() } else { order.clone() };
                for at in order {
                    let (kind, key, bytes) = &records[at];
                    findings.absorb(*kind, *key, bytes).unwrap();
                }
                answers.push(findings.objects().map(|(owner, id, _)| (owner, id)).collect::<Vec<_>>());
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "the order of records counts");
        answers.remove(0)
    }

    #[test]
    fn an_object_stands_by_its_manifest_and_its_envelope() {
        let it = Stored::new(1);
        let whose = (it.owner.owner_id(), it.object);
        assert_eq!(standing(&[it.manifest.clone(), it.envelope(1), it.envelope(2)]), vec![whose]);
        assert_eq!(standing(std::slice::from_ref(&it.manifest)), vec![]);
        assert_eq!(standing(&[it.envelope(1)]), vec![]);
    }

    #[test]
    fn one_tombstone_buries_what_any_node_still_has_in_whatever_order_they_are_read() {
        let it = Stored::new(1);
        let copies = [it.manifest.clone(), it.envelope(1), it.manifest.clone(), it.envelope(1), it.envelope(2)];
        let with = |tombstone: Record| [copies.as_slice(), &[tombstone]].concat();
        assert_eq!(standing(&with(it.tombstone(2))), vec![]);
        assert_eq!(standing(&with(it.tombstone(1))), vec![(it.owner.owner_id(), it.object)]);
    }

    #[test]
    fn nobody_buries_what_is_anothers() {
        let (mine, theirs) = (Stored::new(1), Stored::new(2));
        assert_eq!(mine.object, theirs.object);
        let records = [mine.manifest.clone(), mine.envelope(1), theirs.envelope(1), theirs.tombstone(9)];
        assert_eq!(standing(&records), vec![(mine.owner.owner_id(), mine.object)]);
        // A tombstone whose signature does not hold is none.
        let mut forged = mine.tombstone(9);
        let last = forged.2.len() - 1;
        forged.2[last] ^= 1;
        let mut findings = Findings::default();
        assert!(findings.absorb(forged.0, forged.1, &forged.2).is_err());
        for (kind, key, bytes) in &records {
            findings.absorb(*kind, *key, bytes).unwrap();
        }
        assert_eq!(findings.objects().count(), 1);
    }
}
