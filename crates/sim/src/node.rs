//! A storage node: the real responder over the real volume engine over a disk that fails. What the
//! daemon decides between them (grants, fences, what a put of a known shard means) is played here
//! by the same rules, one call at a time.

mod fences;
mod lists;
mod prove;
mod records;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use holdfast_kzg::Setup;
use holdfast_protocol::{
    message::{Answer, NodeReply, NodeRequest, NodeStat, Receipt, RecordKind, SendFailure, SetEntry},
    responder::OUTBOARD_KIND,
    witness::WitnessSeed,
};
use holdfast_types::{
    ByteRange, Fence, Grant, Incarnation, Millis, NodeId, Operation, PublicKey, SecretKey, Sequence, ShardId,
    Signature, SignedGrant, VolumeId, Wall, ZoneName,
};
use holdfast_volume::{
    Advice, FakeDisk, Identity, Key, Namespace, OpenReport, Options, PIECE_LEN, Reader, Volume, VolumeError,
};
use merkle_cid::{Builder, Root};

use crate::{
    liar::{Liar, Lie},
    message::{Got, Reply, Request},
};

const SHARD_KIND: u8 = 0;
const FENCE_KIND: u8 = 65;
const COMMON: Namespace = Namespace([0; 32]);
/// An expired grant is honoured for this long, as by the daemon.
const GRANT_SKEW_MS: u64 = 60_000;
/// When to come back to a node that is busy.
const SOON: Millis = Millis(500);
/// Bytes moved in one step of compaction.
const COMPACT_BUDGET: u64 = 1 << 20;

/// A node and its disk; the disk outlives the process.
pub(crate) struct Node {
    pub(crate) key: SecretKey,
    pub(crate) id: NodeId,
    pub(crate) zone: ZoneName,
    pub(crate) capacity: u64,
    pub(crate) disk: FakeDisk,
    /// Present while the process runs.
    volume: Option<Volume>,
    /// What a fresh volume is called.
    pub(crate) fresh: Identity,
    auditor: PublicKey,
    damaged: BTreeSet<ShardId>,
    /// Shards whose commitments somebody asked for since the start: it computes them.
    asked: BTreeSet<ShardId>,
    pub(crate) liar: Liar,
    /// Secrets that it was told, and what the shards gave.
    pub(crate) told: BTreeMap<ShardId, (WitnessSeed, [u8; 32])>,
}

/// A refusal that the daemon words, and the link reads.
pub(crate) fn of_volume(error: &VolumeError) -> SendFailure {
    match (error, error.advice()) {
        (VolumeError::NotFound { .. }, _) | (_, Advice::Corrupt) => SendFailure::Malformed(error.to_string()),
        (_, Advice::Retry | Advice::NoRoom | Advice::Stopped) => SendFailure::Refused { retry_after: SOON },
        (_, Advice::Conflict | Advice::Invalid) => SendFailure::Denied(error.to_string()),
    }
}

pub(crate) fn shard_key(shard: &ShardId) -> Key {
    Key { kind: SHARD_KIND, id: *shard.as_bytes() }
}

fn options(capacity: u64) -> Options {
    // Small files and little slack, so that a short run compacts and rewrites.
    Options {
        file_len_max: 2 << 20,
        capacity,
        free_floor: 64 << 10,
        compact_dead_percent: 40,
        reserve: 16 << 10,
        journal_slack: 48,
    }
}

/// A shard as a reader finds it: whole and under its own name.
pub(crate) fn is_intact(reader: &Reader, shard: &ShardId) -> bool {
    if !reader.contains(&shard_key(shard)) {
        return false;
    }
    let (mut builder, mut stream) = (Builder::new(), reader.read_pieces(&[shard_key(shard)]));
    while let Some(piece) = stream.next() {
        let Some(bytes) = piece.bytes else { return false };
        builder.update(bytes);
    }
    builder.finish().0 == shard.0
}

impl Node {
    pub(crate) fn new(seed: [u8; 32], zone: ZoneName, capacity: u64, auditor: PublicKey, fresh: Identity) -> Self {
        let key = SecretKey::from_seed(&seed);
        Self {
            id: key.public().node_id(),
            key,
            zone,
            capacity,
            disk: FakeDisk::new(),
            volume: None,
            fresh,
            auditor,
            damaged: BTreeSet::new(),
            asked: BTreeSet::new(),
            liar: Liar::default(),
            told: BTreeMap::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.volume.is_some()
    }

    /// Starts the process on what its disk holds.
    pub(crate) fn start(&mut self) -> Result<OpenReport, VolumeError> {
        self.damaged.clear();
        self.asked.clear();
        let (volume, report) = Volume::open(self.disk.handle(), options(self.capacity), self.fresh)?;
        self.volume = Some(volume);
        Ok(report)
    }

    /// Ends the process. What the machine has in its page cache stays.
    pub(crate) fn kill(&mut self) {
        self.volume = None;
    }

    /// Ends the process and the machine under it.
    pub(crate) fn cut_power(&mut self, seed: u64) {
        self.volume = None;
        self.disk = self.disk.after_crash(seed);
    }

    /// Whether the power went in the middle of something.
    pub(crate) fn lost_power(&self) -> bool {
        self.disk.handle().list().is_err()
    }

    pub(crate) fn reader(&self) -> Option<Reader> {
        self.volume.as_ref().map(Volume::reader)
    }

    /// What is on the disk, whether or not the process runs.
    pub(crate) fn look(&self) -> Option<Reader> {
        self.reader().or_else(|| {
            let copy = Arc::new(self.disk.fork());
            Volume::open(copy.handle(), options(self.capacity), self.fresh).ok().map(|(volume, _)| volume.reader())
        })
    }

    pub(crate) fn identity(&self) -> (VolumeId, Incarnation) {
        let identity = self.volume.as_ref().map_or(self.fresh, Volume::identity);
        (VolumeId(identity.volume), Incarnation(identity.incarnation))
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.volume.as_ref().is_some_and(|volume| volume.read_only().is_some())
    }

    /// Time to tidy up.
    pub(crate) fn idle(&mut self) {
        let Some(volume) = &mut self.volume else { return };
        if volume.compact(COMPACT_BUDGET).is_ok_and(|step| step.records > 0) {
            // What the commit says of the disk is found again by whoever writes next.
            drop(volume.commit());
        }
    }

    /// Answers a request; `None` when there is no process, or none any more.
    pub(crate) fn serve(&mut self, request: &Request, wall: Wall, setup: &Setup, heard: &[Answer]) -> Option<Reply> {
        self.volume.as_ref()?;
        let reply = match request {
            Request::Put { grant, replace, bytes } => {
                let stored = self.put(grant, *replace, bytes, wall);
                if stored.is_ok() {
                    self.forget_what_it_took(grant);
                }
                Reply::Put(stored.map(Box::new))
            }
            Request::Get { shard, range } => Reply::Got(self.get(shard, *range)),
            Request::Node(request) => Reply::Node(self.node_request(request, wall, setup, heard)),
            Request::Lists(call) => Reply::Lists(self.list_call(call, setup)),
            Request::Api(_) => return None,
        };
        (!self.lost_power()).then_some(reply)
    }

    fn node_request(
        &mut self,
        request: &NodeRequest,
        wall: Wall,
        setup: &Setup,
        heard: &[Answer],
    ) -> Result<NodeReply, SendFailure> {
        match request {
            NodeRequest::Challenge(challenge) => {
                if self.liar.is_lying() {
                    return crate::liar::answer(self, challenge, setup, heard);
                }
                let answer = self.answer(challenge, setup, &[]);
                self.liar.remember(&answer);
                Ok(NodeReply::Answer(Box::new(answer)))
            }
            NodeRequest::List { from, limit } => Ok(self.list(*from, *limit)),
            NodeRequest::Delete(grant) => self.delete(grant, wall).map(|()| NodeReply::Deleted),
            NodeRequest::PutRecord { kind, key, bytes, fence } => {
                self.keep_record(*kind, *key, bytes, *fence).map(|()| NodeReply::Recorded)
            }
            NodeRequest::ListRecords { kind, after, limit } => Ok(self.record_keys(*kind, *after, *limit)),
            NodeRequest::Stat => Ok(NodeReply::Stat(self.stat(wall))),
        }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Volume) -> Result<T, VolumeError>) -> Result<T, SendFailure> {
        let volume = self.volume.as_mut().ok_or(SendFailure::Unreachable)?;
        change(volume).map_err(|error| of_volume(&error))
    }

    fn commit(&mut self) -> Result<(), SendFailure> {
        self.change(|volume| volume.commit().map(drop))
    }

    fn grant(&self, signed: &SignedGrant, operation: Operation, wall: Wall) -> Result<Grant, SendFailure> {
        let grant = signed.verify(&self.auditor, &self.id, wall, GRANT_SKEW_MS);
        let grant = grant.map_err(|error| SendFailure::Denied(error.to_string()))?;
        if grant.operation != operation || (grant.kind != SHARD_KIND && operation != Operation::Delete) {
            return Err(SendFailure::Denied("the grant is for something else".into()));
        }
        Ok(*grant)
    }

    fn put(
        &mut self,
        signed: &SignedGrant,
        replace_it: bool,
        bytes: &Bytes,
        wall: Wall,
    ) -> Result<Receipt, SendFailure> {
        let grant = self.grant(signed, Operation::Put, wall)?;
        self.keep_proof(signed)?;
        let shard = ShardId::from_bytes(grant.content);
        let key = shard_key(&shard);
        let reader = self.reader().ok_or(SendFailure::Unreachable)?;
        let there = reader.stat(&key).filter(|entry| entry.len == grant.len && !self.damaged.contains(&shard));
        if let Some(entry) = there.filter(|_| !replace_it || is_intact(&reader, &shard)) {
            return Ok(self.receipt(&grant, Sequence(entry.sequence.0)));
        }
        let repairs = grant.fence != Fence::default();
        let guard = Key { kind: FENCE_KIND, id: grant.content };
        if repairs {
            self.admit(grant.fence, guard)?;
        }
        let (root, outboard) = {
            let mut builder = Builder::new();
            builder.update(bytes);
            builder.finish()
        };
        if bytes.len() as u64 != grant.len || root != Root(grant.content) {
            return Err(SendFailure::Malformed(format!("expected the bytes of {shard}, got others")));
        }
        let namespace = Namespace(*grant.owner.as_bytes());
        let known = reader.contains(&key);
        self.change(|volume| {
            let mut reservation = match known {
                true => volume.reserve_replacement(namespace, key, grant.len)?,
                false => volume.reserve(namespace, key, grant.len)?,
            };
            bytes.chunks(PIECE_LEN as usize / 2 + 1).try_for_each(|chunk| reservation.write(chunk))?;
            volume.seal(reservation)
        })?;
        let outboard = outboard.into_bytes();
        if !outboard.is_empty() {
            let kept = Key { kind: OUTBOARD_KIND, id: grant.content };
            // The shard stands without it: it is computed again when it is needed.
            drop(self.change(|volume| replace(volume, COMMON, kept, &outboard)));
        }
        if repairs {
            self.change(|volume| replace(volume, COMMON, guard, &grant.fence.to_bytes()))?;
            self.raise(grant.fence)?;
        }
        self.commit()?;
        self.damaged.remove(&shard);
        let entry = reader.stat(&key).ok_or_else(|| SendFailure::Denied("deleted while it was put".into()))?;
        Ok(self.receipt(&grant, Sequence(entry.sequence.0)))
    }

    fn receipt(&self, grant: &Grant, sequence: Sequence) -> Receipt {
        let (_, incarnation) = self.identity();
        let signature = Signature { algorithm: 0, bytes: [0; 64] };
        let sequence = if self.liar.lies(Lie::HighNumber) { Sequence(1 << 63 | sequence.0) } else { sequence };
        let shard = ShardId::from_bytes(grant.content);
        let mut receipt =
            Receipt { node: self.id, incarnation, owner: grant.owner, shard, len: grant.len, sequence, signature };
        receipt.signature = self.key.sign(&receipt.transcript());
        receipt
    }

    fn get(&mut self, shard: &ShardId, range: ByteRange) -> Got {
        let Some(reader) = self.reader() else { return Got::Failed(SendFailure::Unreachable) };
        if self.liar.lies(Lie::Withhold) {
            return Got::Failed(SendFailure::Denied("nothing is read here".into()));
        }
        if self.liar.serves_garbage() {
            return Got::Bytes { bytes: vec![0x55; range.len() as usize].into(), damaged: Vec::new() };
        }
        match reader.read(&shard_key(shard), range.start()..range.end()) {
            Ok(read) => {
                let damaged: Vec<ByteRange> =
                    read.damaged.iter().filter_map(|gap| ByteRange::new(gap.start, gap.end)).collect();
                if !damaged.is_empty() {
                    self.damaged.insert(*shard);
                }
                Got::Bytes { bytes: read.bytes.into(), damaged }
            }
            Err(VolumeError::NotFound { .. }) => Got::NotFound,
            Err(error) => match of_volume(&error) {
                SendFailure::Refused { retry_after } => Got::Busy(retry_after),
                failure => Got::Failed(failure),
            },
        }
    }

    fn delete(&mut self, signed: &SignedGrant, wall: Wall) -> Result<(), SendFailure> {
        let grant = self.grant(signed, Operation::Delete, wall)?;
        self.keep_proof(signed)?;
        if let Some(kind) = RecordKind::from_u8(grant.kind) {
            return self.drop_record(kind, grant.content, grant.fence);
        }
        self.admit(grant.fence, Key { kind: FENCE_KIND, id: grant.content })?;
        self.liar.forget(&ShardId::from_bytes(grant.content));
        self.remove(grant.content)?;
        self.raise(grant.fence)?;
        self.commit()
    }

    /// A shard and what belongs to it, from the next commit on.
    fn remove(&mut self, content: [u8; 32]) -> Result<(), SendFailure> {
        for kind in [SHARD_KIND, OUTBOARD_KIND, FENCE_KIND] {
            self.drop_key(Key { kind, id: content })?;
        }
        self.damaged.remove(&ShardId::from_bytes(content));
        Ok(())
    }

    /// What a liar does with a shard that it says it keeps. Whether it worked.
    pub(crate) fn drop_shard(&mut self, shard: &ShardId) -> bool {
        let Some(entry) = self.reader().and_then(|reader| reader.stat(&shard_key(shard))) else { return false };
        let claim = SetEntry { sequence: Sequence(entry.sequence.0), shard: *shard, len: entry.len };
        let gone = self.remove(*shard.as_bytes()).and_then(|()| self.commit()).is_ok();
        if gone {
            self.liar.claim(claim);
        }
        gone
    }

    fn forget_what_it_took(&mut self, grant: &SignedGrant) {
        let shard = ShardId::from_bytes(grant.grant.content);
        self.liar.forget(&shard);
        if self.liar.drops_puts() {
            self.drop_shard(&shard);
        }
    }

    fn stat(&self, wall: Wall) -> NodeStat {
        let (volume, incarnation) = self.identity();
        let used = self.reader().map_or(0, |reader| reader.usages().iter().map(|(_, usage)| usage.bytes).sum());
        let next = self.entries_from(Sequence(0), usize::MAX).last().map_or(Sequence(0), |last| last.sequence);
        let mut fence = self.fence();
        if self.liar.lies(Lie::HighFence) {
            fence.epoch += 3;
        }
        let proof = self.proof().map(Box::new);
        NodeStat { node: self.id, volume, incarnation, capacity: self.capacity, used, next, fence, wall, proof }
    }
}

fn replace(volume: &mut Volume, namespace: Namespace, key: Key, bytes: &[u8]) -> Result<(), VolumeError> {
    let mut reservation = volume.reserve_replacement(namespace, key, bytes.len() as u64)?;
    reservation.write(bytes)?;
    volume.seal(reservation)
}
