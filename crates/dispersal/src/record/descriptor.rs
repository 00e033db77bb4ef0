//! The segment descriptor: what a cluster holds of a segment, and how to make it whole. Signed by
//! the auditor and stored beside each shard, so that the nodes alone can rebuild a catalog.

use std::collections::BTreeMap;

use holdfast_types::{ObjectId, OwnerId, PublicKey, RECORD_LEN_MAX, Root, SegmentId, SegmentRoot, ShardId, ShardIndex};
use ipld_core::ipld::Ipld;
use merkle_cid::{Cid, Codec};

use super::{
    envelope::code,
    fields::{
        Fields, RecordError, RecordKind, as_array, as_link, as_number, as_tuple, bytes, decode, encode, link, number,
    },
    signed::{Body, BodyFields, Signed},
};
use crate::{
    cut::SEGMENT_EXTENTS_MAX,
    geometry::Geometry,
    owner::WrappedKey,
    recovery::{RecoveryWrap, SegmentBinding},
};

/// Extents in the descriptor itself at most: 28 KiB, beside 8 KiB of shard names.
pub const EXTENTS_INLINE_MAX: usize = 512;

/// Extents of a page: at most 56 bytes each, 56 KiB of a record's 64.
pub const EXTENTS_PER_PAGE: usize = 1024;

/// A stretch of an object's sealed stream in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Of which object.
    pub object: ObjectId,
    /// Where in the segment it starts.
    pub segment_offset: u64,
    /// How many bytes.
    pub len: u64,
    /// Where in the object's sealed stream it starts.
    pub stream_offset: u64,
}

/// A page of extents, in a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtentPageRef {
    /// The root of the page's record.
    pub root: Root,
    /// How many extents it has.
    pub extents: u64,
}

/// A page of extents, as a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtentPage {
    /// Its name.
    pub root: Root,
    /// Its bytes, at most 64 KiB.
    pub bytes: Vec<u8>,
}

/// What lies in a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Extents {
    /// In the descriptor itself, by offset.
    Inline(Vec<Extent>),
    /// In pages of their own.
    Paged(Vec<ExtentPageRef>),
}

/// Splits a segment's extents, sorted by offset: into the descriptor itself if they are few, into
/// pages beside it if they are many.
pub fn extent_pages(extents: Vec<Extent>) -> Result<(Extents, Vec<ExtentPage>), RecordError> {
    valid_extents(&extents, holdfast_types::SEGMENT_LEN_MAX)?;
    if extents.len() <= EXTENTS_INLINE_MAX {
        return Ok((Extents::Inline(extents), Vec::new()));
    }
    let (mut refs, mut pages) = (Vec::new(), Vec::new());
    for page in extents.chunks(EXTENTS_PER_PAGE) {
        let fields = [("extents", Ipld::List(page.iter().map(to_ipld).collect()))];
        let bytes = encode(RecordKind::ExtentPage, fields, RECORD_LEN_MAX)?;
        let root = Root::of(&bytes);
        refs.push(ExtentPageRef { root, extents: page.len() as u64 });
        pages.push(ExtentPage { root, bytes });
    }
    Ok((Extents::Paged(refs), pages))
}

impl ExtentPageRef {
    /// Reads the page that this names; its name is verified first.
    pub fn decode(&self, record: &[u8]) -> Result<Vec<Extent>, RecordError> {
        let kind = RecordKind::ExtentPage.name();
        if Root::of(record) != self.root {
            let reason = format!("its root is {}, expected {}", Root::of(record), self.root);
            return Err(RecordError::Malformed { kind, reason });
        }
        let mut fields = decode(RecordKind::ExtentPage, record, RECORD_LEN_MAX)?;
        let extents = extents_from(fields.list("extents")?, &fields)?;
        fields.done()?;
        if extents.len() as u64 != self.extents {
            let expected = "as many extents as the descriptor says";
            return Err(RecordError::Field { kind, field: "extents", expected });
        }
        valid_extents(&extents, holdfast_types::SEGMENT_LEN_MAX)?;
        Ok(extents)
    }
}

/// The placement secret, wrapped twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrappedSecrets {
    /// To the owner.
    pub owner: WrappedKey,
    /// To the auditor's recovery key.
    pub recovery: RecoveryWrap,
}

/// What a cluster holds of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentDescriptor {
    /// Rises with every change of extents or owner.
    pub version: u64,
    /// The cluster's name of the segment.
    pub segment: SegmentId,
    /// The BLAKE3 root of the sealed segment, before padding.
    pub root: SegmentRoot,
    /// Code and length.
    pub geometry: Geometry,
    /// The names of all n shards, by index.
    pub shards: Vec<ShardId>,
    /// What lies in it.
    pub extents: Extents,
    /// Whose it is.
    pub owner: OwnerId,
    /// The placement secret.
    pub secrets: WrappedSecrets,
}

impl SegmentDescriptor {
    /// Reads a descriptor and verifies that `auditor` signed it.
    pub fn decode(record: &[u8], auditor: &PublicKey) -> Result<Signed<Self>, RecordError> {
        Signed::decode(record, Some(auditor))
    }

    /// What the placement secret is bound to.
    pub const fn binding(&self) -> SegmentBinding {
        SegmentBinding { owner: self.owner, root: self.root, code: self.geometry.code() }
    }

    /// The name of one shard.
    pub fn shard(&self, index: ShardIndex) -> Option<ShardId> {
        self.shards.get(usize::from(index.0)).copied()
    }

    /// Which of the shards has this name.
    pub fn index_of(&self, shard: &ShardId) -> Option<ShardIndex> {
        self.shards.iter().position(|id| id == shard).map(|place| ShardIndex(place as u16))
    }
}

impl Body for SegmentDescriptor {
    const KIND: RecordKind = RecordKind::Segment;
    const DOMAIN: &'static str = "holdfast 2026 segment descriptor v1";

    fn to_map(&self) -> BTreeMap<String, Ipld> {
        let code = self.geometry.code();
        let ids: Vec<u8> = self.shards.iter().flat_map(|id| *id.as_bytes()).collect();
        let (extents, pages) = match &self.extents {
            Extents::Inline(extents) => (extents.iter().map(to_ipld).collect(), Vec::new()),
            Extents::Paged(pages) => (Vec::new(), pages.iter().map(page_to_ipld).collect()),
        };
        let RecoveryWrap { encapsulated, sealed } = &self.secrets.recovery;
        let fields = [
            ("version", number(self.version)),
            ("segment", bytes(self.segment.as_bytes())),
            ("root", bytes(self.root.as_bytes())),
            ("len", number(self.geometry.segment_len())),
            ("code", Ipld::List(vec![number(code.data().into()), number(code.parity().into())])),
            ("shardLen", number(self.geometry.shard_len())),
            ("shards", bytes(&ids)),
            ("extents", Ipld::List(extents)),
            ("pages", Ipld::List(pages)),
            ("owner", bytes(self.owner.as_bytes())),
            ("ownerSecret", bytes(&self.secrets.owner.0)),
            ("recoverySecret", Ipld::List(vec![bytes(encapsulated), bytes(sealed)])),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn from_map(BodyFields(mut fields): BodyFields) -> Result<Self, RecordError> {
        let geometry = geometry_from(&mut fields)?;
        let ids = fields.bytes("shards")?;
        let (ids, rest) = ids.as_chunks::<32>();
        if !rest.is_empty() || ids.len() != usize::from(geometry.code().total()) {
            return Err(fields.wrong("shards", "32 bytes for each of the k + m shards"));
        }
        let shards = ids.iter().copied().map(ShardId::from_bytes).collect();
        let extents = extents_from(fields.list("extents")?, &fields)?;
        let pages: Option<Vec<ExtentPageRef>> = fields.list("pages")?.into_iter().map(page_from_ipld).collect();
        let pages = pages.ok_or_else(|| fields.wrong("pages", "CIDs and numbers of extents"))?;
        let extents = match (extents.is_empty(), pages.is_empty()) {
            (_, true) => Extents::Inline(extents),
            (true, false) => Extents::Paged(pages),
            (false, false) => return Err(fields.wrong("pages", "no pages where extents are inline")),
        };
        let wrong = fields.wrong("recoverySecret", "an encapsulated key and a sealed secret");
        let recovery = as_tuple(Ipld::List(fields.list("recoverySecret")?)).and_then(|[encapsulated, sealed]| {
            Some(RecoveryWrap { encapsulated: as_array(encapsulated)?, sealed: as_array(sealed)? })
        });
        let descriptor = Self {
            version: fields.number("version")?,
            segment: SegmentId(fields.array("segment")?),
            root: SegmentRoot::from_bytes(fields.array("root")?),
            geometry,
            shards,
            extents,
            owner: OwnerId(fields.array("owner")?),
            secrets: WrappedSecrets {
                owner: WrappedKey(fields.array("ownerSecret")?),
                recovery: recovery.ok_or(wrong)?,
            },
        };
        fields.done()?;
        Ok(descriptor)
    }

    // Which auditor a cluster trusts is not the descriptor's to say: the reader names the key.
    fn signed_by(&self, _signer: &PublicKey) -> bool {
        true
    }

    fn validate(&self) -> Result<(), RecordError> {
        let wrong = |field, expected| Err(RecordError::Field { kind: Self::KIND.name(), field, expected });
        if self.shards.len() != usize::from(self.geometry.code().total()) {
            return wrong("shards", "a name for each of the k + m shards");
        }
        match &self.extents {
            Extents::Inline(extents) if extents.len() > EXTENTS_INLINE_MAX => {
                wrong("extents", "at most 512 in the descriptor itself, more in pages")
            }
            Extents::Inline(extents) => valid_extents(extents, self.geometry.segment_len()),
            Extents::Paged(pages) => {
                let (most, total) = (EXTENTS_PER_PAGE as u64, pages.iter().map(|page| page.extents).sum::<u64>());
                if pages.iter().any(|page| page.extents > most) || total > SEGMENT_EXTENTS_MAX as u64 {
                    return wrong("pages", "at most 1024 extents a page and 16384 in all");
                }
                Ok(())
            }
        }
    }
}

fn geometry_from(fields: &mut Fields) -> Result<Geometry, RecordError> {
    let code = as_tuple(Ipld::List(fields.list("code")?)).and_then(|[data, parity]| code(data, parity));
    let code = code.ok_or_else(|| fields.wrong("code", "k and m, each at least 1, together at most 256"))?;
    let geometry = Geometry::new(code, fields.number("len")?);
    let geometry = geometry.map_err(|_| fields.wrong("len", "1 byte to 64 MiB"))?;
    // Two readers that disagree on it would cut the shards in two ways.
    if fields.number("shardLen")? != geometry.shard_len() {
        return Err(fields.wrong("shardLen", "len / k, rounded up to whole KiB"));
    }
    Ok(geometry)
}

/// Sorted, disjoint, not empty, and inside the segment.
fn valid_extents(extents: &[Extent], segment_len: u64) -> Result<(), RecordError> {
    let mut end = 0;
    for extent in extents {
        let stop = extent.segment_offset.checked_add(extent.len).filter(|stop| *stop <= segment_len);
        let fits =
            extent.len > 0 && extent.segment_offset >= end && extent.stream_offset.checked_add(extent.len).is_some();
        end = stop.filter(|_| fits).ok_or(RecordError::Field {
            kind: RecordKind::Segment.name(),
            field: "extents",
            expected: "stretches of the segment, by offset, that do not overlap",
        })?;
    }
    Ok(())
}

fn to_ipld(extent: &Extent) -> Ipld {
    let Extent { object, segment_offset, len, stream_offset } = extent;
    Ipld::List(vec![bytes(object.as_bytes()), number(*segment_offset), number(*len), number(*stream_offset)])
}

fn extents_from(list: Vec<Ipld>, fields: &Fields) -> Result<Vec<Extent>, RecordError> {
    let parse = |value| {
        let [object, segment_offset, len, stream_offset] = as_tuple(value)?;
        let object = ObjectId::from_bytes(as_array(object)?);
        let (segment_offset, len) = (as_number(segment_offset)?, as_number(len)?);
        Some(Extent { object, segment_offset, len, stream_offset: as_number(stream_offset)? })
    };
    let extents: Option<Vec<Extent>> = list.into_iter().map(parse).collect();
    extents.ok_or_else(|| fields.wrong("extents", "an object's root, an offset, a length and a stream offset each"))
}

fn page_to_ipld(page: &ExtentPageRef) -> Ipld {
    Ipld::List(vec![link(Cid::dag_cbor(page.root)), number(page.extents)])
}

fn page_from_ipld(value: Ipld) -> Option<ExtentPageRef> {
    let [root, extents] = as_tuple(value)?;
    Some(ExtentPageRef { root: as_link(root, Codec::DagCbor)?, extents: as_number(extents)? })
}
