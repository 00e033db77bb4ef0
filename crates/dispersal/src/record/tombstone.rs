//! The tombstone: the owner's word that an object is deleted. What it buries stays buried: a
//! recovered catalog finds it on the nodes beside the envelope that it outranks.

use std::collections::BTreeMap;

use holdfast_types::{ObjectId, OwnerId, PublicKey, Wall};
use ipld_core::ipld::Ipld;
use merkle_cid::Codec;

use super::{
    fields::{RecordError, RecordKind, bytes, link, number},
    signed::{Body, BodyFields, Signed},
};

/// The end of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// Outranks envelopes of this version and below.
    pub version: u64,
    /// The object.
    pub object: ObjectId,
    /// Whose it was, and who signs.
    pub owner: OwnerId,
    /// When, by the owner's clock.
    pub deleted: Wall,
}

impl Tombstone {
    /// Reads a tombstone and verifies that its own owner signed it.
    pub fn decode(record: &[u8]) -> Result<Signed<Self>, RecordError> {
        Signed::decode(record, None)
    }
}

impl Body for Tombstone {
    const KIND: RecordKind = RecordKind::Tombstone;
    const DOMAIN: &'static str = "holdfast 2026 tombstone v1";

    fn to_map(&self) -> BTreeMap<String, Ipld> {
        let fields = [
            ("version", number(self.version)),
            ("object", link(self.object.cid())),
            ("owner", bytes(self.owner.as_bytes())),
            ("deleted", number(self.deleted.0)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn from_map(BodyFields(mut fields): BodyFields) -> Result<Self, RecordError> {
        let tombstone = Self {
            version: fields.number("version")?,
            object: ObjectId(fields.link("object", Codec::DagCbor)?),
            owner: OwnerId(fields.array("owner")?),
            deleted: Wall(fields.number("deleted")?),
        };
        fields.done()?;
        Ok(tombstone)
    }

    fn signed_by(&self, signer: &PublicKey) -> bool {
        signer.owner_id() == self.owner
    }

    fn validate(&self) -> Result<(), RecordError> {
        Ok(())
    }
}
