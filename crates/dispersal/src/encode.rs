//! A sealed segment becomes n masked shards. The segment's own buffer becomes the k data shards, so
//! that the m parity shards are the only memory added: `segment_len * n / k` bytes in all, and up to
//! 1 KiB of padding a shard.

use bytes::Bytes;
use holdfast_types::{Code, Root, SegmentRoot, ShardId, ShardIndex};

use crate::{
    geometry::{Geometry, SegmentError},
    key::PlacementSecret,
    mask::Masks,
    rows::Rows,
    simd::{CpuPath, PathUnavailable},
};

/// Masked and hashed in one go while the bytes are in the cache.
const STRIP_LEN: usize = 64 << 10;

/// One masked shard, as a node stores it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodedShard {
    /// Which of the n.
    pub index: ShardIndex,
    /// The BLAKE3 root of the masked bytes: its name.
    pub id: ShardId,
    /// The masked bytes, a cheap slice of the segment's one buffer.
    pub bytes: Bytes,
}

/// A segment, coded and masked.
#[derive(Clone, Debug)]
pub struct EncodedSegment {
    /// The BLAKE3 root of the sealed segment, before padding.
    pub root: SegmentRoot,
    /// Code and lengths.
    pub geometry: Geometry,
    /// All n, in order of their index.
    pub shards: Vec<EncodedShard>,
    /// What the shards are slices of.
    pub buffers: Buffers,
}

/// The two buffers that all shards of a segment are slices of, of which other segments can be made when the shards are
/// gone: fresh pages cost the kernel as much as filling them.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    data: Bytes,
    parity: Bytes,
}

impl Buffers {
    /// The buffer for [`crate::SegmentCutter::reuse`] and that for [`Encoder::encode_into`], as long as they were, so
    /// that nothing has to be zeroed again; `None` for one of which a slice is held somewhere.
    pub fn take_back(self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let whole = |buffer: Bytes| buffer.is_unique().then(|| Vec::from(buffer));
        (whole(self.data), whole(self.parity))
    }
}

impl EncodedSegment {
    /// The names of the shards, in order of their index.
    pub fn shard_ids(&self) -> Vec<ShardId> {
        self.shards.iter().map(|shard| shard.id).collect()
    }
}

/// Encodes segments under one code; keeps its coefficients.
#[derive(Clone, Debug)]
pub struct Encoder {
    code: Code,
    rows: Rows,
}

impl Encoder {
    /// Works out the code's coefficients: milliseconds for large k.
    pub fn new(code: Code) -> Self {
        Self { code, rows: Rows::encode(code) }
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The same on other instructions than the best: for tests and measurements.
    pub fn on(self, path: CpuPath) -> Result<Self, PathUnavailable> {
        Ok(Self { rows: self.rows.on(path)?, ..self })
    }

    /// The instructions that it codes with.
    pub const fn path(&self) -> CpuPath {
        self.rows.path()
    }

    /// Codes and masks `segment`, 1 to 64 MiB of sealed bytes. `secret` is fresh for each segment.
    ///
    /// Give `segment` spare room for up to k KiB of padding (as [`crate::SegmentCutter`] does), or it is
    /// copied once.
    pub fn encode(&self, segment: Vec<u8>, secret: &PlacementSecret) -> Result<EncodedSegment, SegmentError> {
        self.encode_into(segment, Vec::new(), secret)
    }

    /// [`Encoder::encode`], with `parity` as the buffer of the parity shards, whatever is in it: that of an
    /// earlier segment spares its pages.
    ///
    /// # Errors
    /// As there.
    pub fn encode_into(
        &self,
        mut segment: Vec<u8>,
        mut parity: Vec<u8>,
        secret: &PlacementSecret,
    ) -> Result<EncodedSegment, SegmentError> {
        let geometry = Geometry::new(self.code, segment.len() as u64)?;
        let root = SegmentRoot(Root::of(&segment));
        let masks = Masks::new(secret.clone(), root, self.code);
        let shard_len = geometry.shard_len() as usize;
        segment.resize(shard_len * usize::from(self.code.data()), 0);
        // What is in it is overwritten.
        parity.resize(shard_len * usize::from(self.code.parity()), 0);
        let sources: Vec<&[u8]> = segment.chunks_exact(shard_len).collect();
        let mut targets: Vec<&mut [u8]> = parity.chunks_exact_mut(shard_len).collect();
        self.rows.apply(&sources, &mut targets);

        let parts = segment.chunks_exact_mut(shard_len).chain(parity.chunks_exact_mut(shard_len));
        let ids: Vec<ShardId> =
            (0..).map(ShardIndex).zip(parts).map(|(index, bytes)| mask_and_name(&masks, index, bytes)).collect();

        let (data, parity) = (Bytes::from(segment), Bytes::from(parity));
        let slice = |whole: &Bytes, place: usize| whole.slice(place * shard_len..(place + 1) * shard_len);
        let k = usize::from(self.code.data());
        let shard = |(place, id): (usize, ShardId)| EncodedShard {
            index: ShardIndex(place as u16),
            id,
            bytes: if place < k { slice(&data, place) } else { slice(&parity, place - k) },
        };
        let shards = ids.into_iter().enumerate().map(shard).collect();
        Ok(EncodedSegment { root, geometry, shards, buffers: Buffers { data, parity } })
    }
}

fn mask_and_name(masks: &Masks, index: ShardIndex, bytes: &mut [u8]) -> ShardId {
    let (mask, mut hasher) = (masks.of(index), blake3::Hasher::new());
    for (number, strip) in bytes.chunks_mut(STRIP_LEN).enumerate() {
        mask.apply((number * STRIP_LEN) as u64, strip);
        hasher.update(strip);
    }
    ShardId(Root::from(hasher.finalize()))
}
