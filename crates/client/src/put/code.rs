//! Between the cutter and the network: a segment's sealed bytes are kept on disk, coded, masked and
//! named, and its placement secret is wrapped twice.

use std::{fs, io::Write, path::PathBuf, sync::Arc};

use bytes::Bytes;
use holdfast_dispersal::{Buffers, EncodedSegment, Encoder, OwnerKey, PlacementSecret, SegmentBinding, WrappedKey};
use holdfast_types::{Root, Seed, SegmentId};
use holdfast_wire::convert::{SegmentSpec, ShardCommitments, ShardWitness};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Commit, Upload, commit,
    journal::{Snapshot, Spooled},
    seal::Cut,
    witness,
};
use crate::{ClientError, Progress, chance, clock::Clock, file};

/// A segment that is ready to be staged.
pub(super) struct Coded {
    pub(super) spec: SegmentSpec,
    /// Where it starts in the upload's sealed stream.
    pub(super) offset: u64,
    pub(super) shards: Vec<Bytes>,
    pub(super) buffers: Buffers,
    pub(super) word: Word,
    /// What the journal is to be told; `None` when it knows.
    pub(super) snapshot: Option<Snapshot>,
    pub(super) room: OwnedSemaphorePermit,
}

/// What goes to the auditor beside a segment's placement: one or the other for each shard. Never written to the disk.
#[derive(Default)]
pub(super) struct Word {
    pub(super) witnesses: Vec<ShardWitness>,
    pub(super) commitments: Vec<ShardCommitments>,
    /// Bytes that were committed to here, and the seconds it took.
    pub(super) committed: (u64, f64),
}

/// Codes segments of one upload.
pub(super) struct Coder {
    owner: OwnerKey,
    encoder: Encoder,
    commit: Commit,
    room: Arc<Semaphore>,
    progress: Arc<dyn Progress>,
}

impl Coder {
    pub(super) fn new(owner: OwnerKey, upload: &Upload) -> Self {
        let (commit, room, progress) = (upload.commit, upload.room.clone(), upload.progress.clone());
        Self { owner, encoder: Encoder::new(upload.terms.code), commit, room, progress }
    }

    /// What the auditor is told of the shards' polynomials.
    fn word(&self, shards: &[Bytes]) -> Result<Word, ClientError> {
        match self.commit {
            Commit::Later => Ok(Word { witnesses: witness::draw(shards)?, ..Word::default() }),
            Commit::Now => {
                let clock = Clock::start();
                // Closed when the put is over, whichever way: nobody hears of this segment any more.
                let goes_on = || !self.room.is_closed();
                let commitments = commit::lists(shards, &goes_on, &*self.progress)?.unwrap_or_default();
                let bytes = shards.iter().map(|shard| shard.len() as u64).sum();
                Ok(Word { witnesses: Vec::new(), commitments, committed: (bytes, clock.seconds()) })
            }
        }
    }

    fn binding(&self, encoded: &EncodedSegment) -> SegmentBinding {
        SegmentBinding { owner: self.owner.owner_id(), root: encoded.root, code: self.encoder.code() }
    }

    /// Codes a fresh segment. `spool` says where its sealed bytes are to be kept. Blocks.
    pub(super) fn code(
        &self,
        upload: &Upload,
        cut: Cut,
        id: SegmentId,
        spool: Option<PathBuf>,
    ) -> Result<Coded, ClientError> {
        let Cut { segment, offset, snapshot, room } = cut;
        if let Some(path) = spool {
            // Not synced: a torn one is recognised by its root, and costs a fresh put, no more.
            let written = file::overwrite(&path).and_then(|mut file| file.write_all(&segment.bytes));
            written.map_err(|error| ClientError::State {
                path,
                why: format!("{error}; give the state directory room for three segments"),
            })?;
        }
        let len = segment.bytes.len() as u64;
        let secret = PlacementSecret::from_bytes(chance::draw()?);
        let parity = upload.spare.parity().unwrap_or_default();
        let encoded = self.encoder.encode_into(segment.bytes, parity, &secret)?;
        let binding = self.binding(&encoded);
        let for_recovery = upload.recovery.wrap(&binding, &secret, Seed(chance::draw()?))?;
        let spec = SegmentSpec {
            id,
            root: encoded.root,
            len,
            shard_len: encoded.geometry.shard_len(),
            shards: encoded.shard_ids(),
            secret_for_owner: self.owner.wrap_placement(&binding, &secret).0.to_vec(),
            secret_for_recovery: for_recovery.to_bytes().to_vec(),
        };
        let shards: Vec<Bytes> = encoded.shards.into_iter().map(|shard| shard.bytes).collect();
        let word = self.word(&shards)?;
        Ok(Coded { spec, offset, shards, buffers: encoded.buffers, word, snapshot: Some(snapshot), room })
    }

    /// Codes a segment of an earlier run again: from the same bytes and secret, so with the same names.
    /// Blocks.
    pub(super) fn code_again(
        &self,
        spooled: &Spooled,
        path: PathBuf,
        room: OwnedSemaphorePermit,
    ) -> Result<Coded, ClientError> {
        let lost = |why: String| ClientError::State {
            path: path.clone(),
            why: format!("{why}; put again with the option to begin anew"),
        };
        let spec = spooled.spec().ok_or_else(|| lost("the state of the segment cannot be read".into()))?;
        let bytes = read_spooled(spooled, &path).map_err(lost)?;
        let wrapped = spec.secret_for_owner.as_slice().try_into().map(WrappedKey);
        let wrapped = wrapped.map_err(|_| lost("the segment's secret cannot be read".into()))?;
        let code = self.encoder.code();
        let binding = SegmentBinding { owner: self.owner.owner_id(), root: spec.root, code };
        let secret = self.owner.unwrap_placement(&binding, &wrapped)?;
        let encoded = self.encoder.encode(bytes, &secret)?;
        if encoded.shard_ids() != spec.shards {
            return Err(lost("the segment's shards have other names than before".into()));
        }
        let shards: Vec<Bytes> = encoded.shards.into_iter().map(|shard| shard.bytes).collect();
        let word = self.word(&shards)?;
        Ok(Coded { spec, offset: spooled.offset, shards, buffers: encoded.buffers, word, snapshot: None, room })
    }
}

/// The sealed bytes of a segment, if they are what the state says.
pub(super) fn read_spooled(spooled: &Spooled, path: &PathBuf) -> Result<Vec<u8>, String> {
    let len = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if len != spooled.len {
        return Err(format!("expected {} sealed bytes, got {len}", spooled.len));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    if Root::of(&bytes) != spooled.root.0 {
        return Err(format!("expected sealed bytes with root {}, got {}", spooled.root.0, Root::of(&bytes)));
    }
    Ok(bytes)
}
