//! The envelope: whose an object is, how it is to be kept, and the wrapped key that opens it. Signed
//! by the owner; a newer version replaces an older one, and the object's name stays.

use std::collections::BTreeMap;

use holdfast_types::{Code, ObjectId, OwnerId, PublicKey, Wall};
use ipld_core::ipld::Ipld;
use merkle_cid::Codec;

use super::{
    fields::{RecordError, RecordKind, as_number, as_text, as_tuple, bytes, link, number, optional, text},
    signed::{Body, BodyFields, Signed},
};
use crate::owner::WrappedKey;

/// Names of one object at most.
pub const NAMES_MAX: usize = 16;

/// Bytes of a name at most: as long as a path may be on the file systems that names come from is
/// 4096; 16 of 2 KiB still leave half of a record.
pub const NAME_LEN_MAX: usize = 2048;

/// Whose an object is, and how it is to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Rises with every change.
    pub version: u64,
    /// The object.
    pub object: ObjectId,
    /// Whose it is, and who signs.
    pub owner: OwnerId,
    /// The object's key, wrapped to the owner.
    pub key: WrappedKey,
    /// The policy's name, the owner's own.
    pub policy: String,
    /// The policy's code.
    pub code: Code,
    /// Not to be deleted before.
    pub retain_until: Option<Wall>,
    /// When it was stored, by the owner's clock.
    pub created: Wall,
    /// What the owner calls it: paths, readable for the auditor.
    pub names: Vec<String>,
}

impl Envelope {
    /// Reads an envelope and verifies that its own owner signed it.
    pub fn decode(record: &[u8]) -> Result<Signed<Self>, RecordError> {
        Signed::decode(record, None)
    }
}

impl Body for Envelope {
    const KIND: RecordKind = RecordKind::Envelope;
    const DOMAIN: &'static str = "holdfast 2026 envelope v1";

    fn to_map(&self) -> BTreeMap<String, Ipld> {
        let policy = vec![text(&self.policy), number(self.code.data().into()), number(self.code.parity().into())];
        let fields = [
            ("version", number(self.version)),
            ("object", link(self.object.cid())),
            ("owner", bytes(self.owner.as_bytes())),
            ("key", bytes(&self.key.0)),
            ("policy", Ipld::List(policy)),
            ("retainUntil", optional(self.retain_until, |wall| number(wall.0))),
            ("created", number(self.created.0)),
            ("names", Ipld::List(self.names.iter().map(|name| text(name)).collect())),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn from_map(BodyFields(mut fields): BodyFields) -> Result<Self, RecordError> {
        let wrong = fields.wrong("policy", "a name, k and m of a code");
        let [policy, data, parity]: [Ipld; 3] =
            as_tuple(Ipld::List(fields.list("policy")?)).ok_or_else(|| wrong.clone())?;
        let code = code(data, parity).ok_or_else(|| wrong.clone())?;
        let names: Option<Vec<String>> = fields.list("names")?.into_iter().map(as_text).collect();
        let envelope = Self {
            version: fields.number("version")?,
            object: ObjectId(fields.link("object", Codec::DagCbor)?),
            owner: OwnerId(fields.array("owner")?),
            key: WrappedKey(fields.array("key")?),
            policy: as_text(policy).ok_or(wrong)?,
            code,
            retain_until: fields
                .optional("retainUntil", "milliseconds, or null", |value| as_number(value).map(Wall))?,
            created: Wall(fields.number("created")?),
            names: names.ok_or_else(|| fields.wrong("names", "texts"))?,
        };
        fields.done()?;
        Ok(envelope)
    }

    fn signed_by(&self, signer: &PublicKey) -> bool {
        signer.owner_id() == self.owner
    }

    fn validate(&self) -> Result<(), RecordError> {
        let wrong = |field, expected| Err(RecordError::Field { kind: Self::KIND.name(), field, expected });
        if self.names.len() > NAMES_MAX || self.names.iter().any(|name| name.len() > NAME_LEN_MAX) {
            return wrong("names", "at most 16 names of at most 2 KiB");
        }
        if self.policy.is_empty() || self.policy.len() > NAME_LEN_MAX {
            return wrong("policy", "a name of 1 byte to 2 KiB");
        }
        Ok(())
    }
}

/// A code from its two numbers.
pub(super) fn code(data: Ipld, parity: Ipld) -> Option<Code> {
    Code::new(as_number(data)?.try_into().ok()?, as_number(parity)?.try_into().ok()?).ok()
}
