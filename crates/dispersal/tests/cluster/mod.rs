//! A cluster in memory: what a client puts, and what is left of it. Every shard that is read is
//! verified against its name first, as the protocol does.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;

use holdfast_dispersal::*;
use holdfast_types::{ByteRange, Code, ObjectId, OwnerId, Root, SegmentId, ShardId, ShardIndex};

/// Bytes that do not compress.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// 32 bytes that differ for every `n`.
pub fn draw(n: u64) -> [u8; 32] {
    *blake3::hash(&n.to_be_bytes()).as_bytes()
}

pub struct StoredSegment {
    pub geometry: Geometry,
    pub masks: Masks,
    pub names: Vec<ShardId>,
    pub shards: Vec<Option<Vec<u8>>>,
    pub extents: Vec<Extent>,
}

impl StoredSegment {
    /// The shards that are there and are what their names say.
    pub fn good(&self) -> Vec<ShardIndex> {
        let holds = |(shard, name): (&Option<Vec<u8>>, &ShardId)| {
            shard.as_ref().is_some_and(|bytes| ShardId(Root::of(bytes)) == *name)
        };
        let indices = (0..).map(ShardIndex).zip(self.shards.iter().zip(&self.names));
        indices.filter(|(_, pair)| holds(*pair)).map(|(index, _)| index).collect()
    }

    pub fn shard(&self, index: ShardIndex) -> &[u8] {
        self.shards[usize::from(index.0)].as_deref().expect("asked for a good one")
    }

    /// Reads a range, and says what was fetched for it.
    pub fn read(&self, range: ByteRange) -> Result<(Vec<u8>, Vec<Fetch>), SegmentError> {
        let plan = ReadPlan::new(self.geometry, range, &self.good())?;
        let mut read = SegmentRead::new(plan, self.masks.clone());
        let wanted = read.wanted();
        for fetch in &wanted {
            // In pieces, the last first: the order does not matter.
            let pieces: Vec<u64> = (fetch.range.start()..fetch.range.end()).step_by(300_001).collect();
            for start in pieces.into_iter().rev() {
                let end = fetch.range.end().min(start + 300_001);
                read.absorb(fetch.shard, start, &self.shard(fetch.shard)[start as usize..end as usize])?;
            }
        }
        let bytes = read.to_vec()?;
        assert!(self.read_unmasked(range)? == bytes, "whoever unmasks");
        Ok((bytes, wanted))
    }

    /// The same from bytes that the caller unmasked, each fetch with something around it.
    fn read_unmasked(&self, range: ByteRange) -> Result<Vec<u8>, SegmentError> {
        let plan = ReadPlan::new(self.geometry, range, &self.good())?;
        let mut read = SegmentRead::new(plan, self.masks.clone());
        for fetch in read.wanted() {
            let shard = self.shard(fetch.shard);
            let (start, end) = (fetch.range.start().saturating_sub(7), (fetch.range.end() + 9).min(shard.len() as u64));
            let mut bytes = shard[start as usize..end as usize].to_vec();
            self.masks.of(fetch.shard).apply(start, &mut bytes);
            let short = bytes[..(fetch.range.end() - start) as usize - 1].to_vec();
            assert!(matches!(read.absorb_unmasked(fetch.shard, start, short), Err(SegmentError::Unasked { .. })));
            read.absorb_unmasked(fetch.shard, start, bytes)?;
        }
        read.to_vec()
    }
}

#[derive(Default)]
pub struct Cluster {
    pub segments: BTreeMap<SegmentId, StoredSegment>,
    pub pages: BTreeMap<Root, Vec<u8>>,
}

pub struct Stored {
    pub key: ObjectKey,
    pub manifest: Manifest,
}

impl Stored {
    pub fn id(&self) -> ObjectId {
        self.manifest.object_id()
    }
}

pub const OWNER: OwnerId = OwnerId([7; 32]);

impl Cluster {
    /// Puts objects in one upload.
    pub fn put(&mut self, objects: &[&[u8]], code: Code, segment_len: u64) -> Vec<Stored> {
        let mut cutter = SegmentCutter::new(segment_len);
        let (mut cut, mut stored) = (Vec::new(), Vec::new());
        for (number, plain) in (0u32..).zip(objects) {
            let key = ObjectKey::from_bytes(draw(u64::from(number) << 1));
            let mut sealer = Sealer::new(key.clone(), RunSalt(draw(u64::from(number) << 1 | 1))).unwrap();
            let mut frames = Vec::new();
            for piece in plain.chunks(700_000) {
                frames.extend(sealer.push(piece).unwrap());
            }
            let object = sealer.finish(Description::default()).unwrap();
            self.pages.extend(object.pages.iter().map(|page| (page.root, page.bytes.clone())));
            frames.push(object.frame);
            cut.extend(frames.iter().filter_map(|frame| cutter.push(number, frame.stream_offset, &frame.bytes)));
            stored.push(Stored { key, manifest: object.manifest });
        }
        cut.extend(cutter.flush());
        let ids: Vec<ObjectId> = stored.iter().map(Stored::id).collect();
        for segment in cut {
            self.store(segment, code, &ids);
        }
        stored
    }

    pub fn store(&mut self, segment: CutSegment, code: Code, ids: &[ObjectId]) -> SegmentId {
        let number = self.segments.len() as u64;
        let secret = PlacementSecret::from_bytes(draw(1 << 32 | number));
        let len = segment.bytes.len() as u64;
        let encoded = Encoder::new(code).encode(segment.bytes, &secret).unwrap();
        assert_eq!(encoded.geometry, Geometry::new(code, len).unwrap());
        let extent = |piece: &Piece| Extent {
            object: ids[piece.object as usize],
            segment_offset: piece.segment_offset,
            len: piece.len,
            stream_offset: piece.stream_offset,
        };
        let stored = StoredSegment {
            geometry: encoded.geometry,
            masks: Masks::new(secret, encoded.root, code),
            names: encoded.shard_ids(),
            shards: encoded.shards.iter().map(|shard| Some(shard.bytes.to_vec())).collect(),
            extents: segment.pieces.iter().map(extent).collect(),
        };
        let id = SegmentId(draw(2 << 32 | number)[..16].try_into().unwrap());
        self.segments.insert(id, stored);
        id
    }

    pub fn map(&self, object: &Stored) -> ExtentMap {
        let all = self.segments.iter().flat_map(|(id, segment)| segment.extents.iter().map(|extent| (*id, *extent)));
        ExtentMap::new(&object.id(), object.manifest.sealed_len(), all).unwrap()
    }

    /// Reads an object or a range of it; says how many bytes of shards were fetched.
    pub fn get(&self, object: &Stored, range: Option<ByteRange>) -> Result<(Vec<u8>, u64), SegmentError> {
        let manifest = Manifest::decode_as(&object.id(), object.manifest.bytes()).unwrap();
        let mut opener = Opener::new(&object.key, &manifest, range).unwrap();
        for (number, root) in opener.pages_wanted() {
            opener.absorb_page(number, &self.pages[&root]).unwrap();
        }
        let (mut plain, mut fetched) = (Vec::new(), 0);
        for part in self.map(object).locate(opener.sealed_range().unwrap()).unwrap() {
            let (sealed, fetches) = self.segments[&part.segment].read(part.in_segment)?;
            fetched += fetches.iter().map(|fetch| fetch.range.len()).sum::<u64>();
            plain.extend(opener.push(&sealed).unwrap().concat());
        }
        opener.finish().unwrap();
        Ok((plain, fetched))
    }
}
