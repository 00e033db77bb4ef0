//! Makes lost shards again from k others, strip by strip: O((k + m) × 1 MiB) of memory, whatever the
//! segment. Reed–Solomon is deterministic and the mask is derived, so a rebuilt shard has the bytes,
//! the name and the commitments of the lost one.
//!
//! Whole shards are checked on the way: the decoded segment against its root, each rebuilt shard
//! against its name. The sources were verified against theirs by whoever feeds them.

use holdfast_types::{ByteRange, Root, SegmentRoot, ShardId, ShardIndex};

use crate::{
    geometry::{Geometry, SegmentError, span},
    mask::Masks,
    read::STRIP_LEN,
    root::PartedRoot,
    rows::Rows,
    simd::{CpuPath, PathUnavailable},
};

/// A shard to make again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Which of the n.
    pub index: ShardIndex,
    /// Its name: what the rebuilt bytes must hash to.
    pub id: ShardId,
}

/// Masked bytes of a rebuilt shard, ready to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RebuiltStrip {
    /// Of which shard.
    pub index: ShardIndex,
    /// From which offset of it.
    pub offset: u64,
    /// The bytes, as the node stores them.
    pub bytes: Vec<u8>,
}

/// A rebuild in progress.
#[derive(Debug)]
pub struct Rebuilder {
    geometry: Geometry,
    masks: Masks,
    sources: Vec<ShardIndex>,
    // Every shard that is computed: the targets, and for a whole rebuild the data shards that are
    // neither source nor target, because the segment's root needs them.
    outputs: Vec<ShardIndex>,
    targets: Vec<Target>,
    rows: Rows,
    range: ByteRange,
    at: u64,
    proof: Option<Proof>,
}

#[derive(Debug)]
struct Proof {
    segment: PartedRoot,
    targets: Vec<blake3::Hasher>,
}

impl Rebuilder {
    /// Rebuilds `targets` from the first k of `sources`. Only bytes `range` of each, or the whole of
    /// them when `None`; a target's other bytes stay where they still stand.
    ///
    /// # Errors
    /// [`SegmentError::TooFewShards`] below k different sources.
    pub fn new(
        geometry: Geometry,
        masks: Masks,
        sources: &[ShardIndex],
        targets: &[Target],
        range: Option<ByteRange>,
    ) -> Result<Self, SegmentError> {
        let needed = geometry.code().data();
        let mut chosen: Vec<ShardIndex> = Vec::with_capacity(usize::from(needed));
        for index in sources {
            if !chosen.contains(&geometry.shard(*index)?) {
                chosen.push(*index);
            }
        }
        if chosen.len() < usize::from(needed) {
            return Err(SegmentError::TooFewShards { found: chosen.len() as u16, needed });
        }
        chosen.truncate(usize::from(needed));

        let mut outputs = Vec::new();
        for target in targets {
            outputs.push(geometry.shard(target.index)?);
        }
        let whole = span(0, geometry.shard_len());
        let range = range.map_or(Ok(whole), |range| geometry.in_shard(range))?;
        let proof = (range == whole).then(|| Proof {
            segment: PartedRoot::new(geometry.segment_len()),
            targets: vec![blake3::Hasher::new(); targets.len()],
        });
        if proof.is_some() {
            let rest = (0..needed).map(ShardIndex).filter(|index| !chosen.contains(index));
            let rest: Vec<ShardIndex> = rest.filter(|index| !outputs.contains(index)).collect();
            outputs.extend(rest);
        }
        let rows = Rows::rebuild(geometry.code(), &chosen, &outputs);
        let (at, targets) = (range.start(), targets.to_vec());
        Ok(Self { geometry, masks, sources: chosen, outputs, targets, rows, range, at, proof })
    }

    /// The same on other instructions than the best: for tests and measurements.
    pub fn on(self, path: CpuPath) -> Result<Self, PathUnavailable> {
        Ok(Self { rows: self.rows.on(path)?, ..self })
    }

    /// The k shards to read, in the order in which [`Rebuilder::absorb`] takes their strips.
    pub fn sources(&self) -> &[ShardIndex] {
        &self.sources
    }

    /// The bytes that every source must give next, at most 1 MiB; `None` when all are done.
    pub fn next_strip(&self) -> Option<ByteRange> {
        let left = self.range.end() - self.at;
        (left > 0).then(|| span(self.at, left.min(STRIP_LEN as u64)))
    }

    /// Takes the next strip of every source (masked, verified; unmasked in place) and gives the same
    /// bytes of every target.
    pub fn absorb(&mut self, strips: &mut [Vec<u8>]) -> Result<Vec<RebuiltStrip>, SegmentError> {
        self.accept(strips)?;
        let len = strips.first().map_or(0, Vec::len);
        for (source, strip) in self.sources.iter().zip(strips.iter_mut()) {
            self.masks.apply(*source, self.at, strip);
        }
        let sources: Vec<&[u8]> = strips.iter().map(Vec::as_slice).collect();
        let mut outputs = vec![vec![0; len]; self.outputs.len()];
        self.rows.apply(&sources, &mut outputs.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
        self.hash_segment(&sources, &outputs);

        let mut rebuilt = Vec::with_capacity(self.targets.len());
        for (place, (target, mut bytes)) in self.targets.iter().zip(outputs).enumerate() {
            self.masks.apply(target.index, self.at, &mut bytes);
            if let Some(proof) = &mut self.proof {
                proof.targets[place].update(&bytes);
            }
            rebuilt.push(RebuiltStrip { index: target.index, offset: self.at, bytes });
        }
        self.at += len as u64;
        Ok(rebuilt)
    }

    fn accept(&self, strips: &[Vec<u8>]) -> Result<(), SegmentError> {
        let want = self.next_strip().unwrap_or(span(self.at, 0));
        let expected = || format!("bytes {want} of each of {} sources", self.sources.len());
        if strips.len() != self.sources.len() {
            let shard = self.sources.get(strips.len()).or(self.sources.first()).copied().unwrap_or_default();
            return Err(SegmentError::Unasked { expected: expected(), shard, range: span(self.at, 0) });
        }
        match self.sources.iter().zip(strips).find(|(_, strip)| strip.len() as u64 != want.len()) {
            Some((shard, strip)) => {
                let range = span(self.at, strip.len() as u64);
                Err(SegmentError::Unasked { expected: expected(), shard: *shard, range })
            }
            None => Ok(()),
        }
    }

    fn hash_segment(&mut self, sources: &[&[u8]], outputs: &[Vec<u8>]) {
        let Some(proof) = &mut self.proof else { return };
        let known = self.sources.iter().zip(sources.iter().copied());
        let made = self.outputs.iter().zip(outputs.iter().map(Vec::as_slice));
        for index in (0..self.geometry.code().data()).map(ShardIndex) {
            let strip = known.clone().chain(made.clone()).find(|(at, _)| **at == index);
            let part = self.geometry.part(index);
            let start = part.start() + self.at;
            if let Some((_, strip)) = strip.filter(|_| start < part.end()) {
                // Beyond the part's end there is only padding, which the root does not cover.
                let len = (part.end() - start).min(strip.len() as u64) as usize;
                proof.segment.absorb(start, &strip[..len]);
            }
        }
    }

    /// Ends the rebuild. A whole one is proven here: nothing that [`Rebuilder::absorb`] gave may be
    /// placed before this is `Ok`. After a partial one, the caller verifies the patched shard by name.
    pub fn finish(self) -> Result<(), SegmentError> {
        if let Some(range) = self.next_strip() {
            let shard = self.sources.first().copied().unwrap_or_default();
            return Err(SegmentError::Unfed { shard, range });
        }
        let Some(proof) = self.proof else { return Ok(()) };
        let expected = self.masks.root();
        let got = proof.segment.root().map(SegmentRoot);
        let got = got.ok_or(SegmentError::Unfed { shard: ShardIndex(0), range: self.range })?;
        if got != expected {
            return Err(SegmentError::Root { expected, got });
        }
        for (target, hasher) in self.targets.iter().zip(&proof.targets) {
            let got = ShardId(Root::from(hasher.finalize()));
            if got != target.id {
                return Err(SegmentError::Shard { index: target.index, expected: target.id, got });
            }
        }
        Ok(())
    }
}
