//! What a node lists and proves: the real responder over the real reader. Bytes that a liar makes up
//! go in here.

use holdfast_kzg::Setup;
use holdfast_protocol::{
    answer,
    message::{Answer, AnswerBody, Ask, Challenge, NodeReply, SET_SHARDS_MAX, SetEntry},
    responder::{OUTBOARD_KIND, Responder, ShardRead},
};
use holdfast_types::{ByteRange, Sequence, ShardId};
use holdfast_volume::{Key, PIECE_LEN, Reader, Sequence as VolumeSequence};
use merkle_cid::Builder;

use super::{Node, SHARD_KIND, shard_key};

impl Node {
    pub(super) fn list(&self, from: Sequence, limit: u32) -> NodeReply {
        let limit = limit as usize;
        let mut entries = self.entries_from(from, limit);
        entries.truncate(limit);
        let full = entries.len() == limit;
        let next = entries.last().filter(|_| full).map(|last| Sequence(last.sequence.0 + 1));
        NodeReply::Entries { entries, next }
    }

    pub(super) fn entries_from(&self, from: Sequence, limit: usize) -> Vec<SetEntry> {
        let Some(reader) = self.reader() else { return Vec::new() };
        let found = reader.entries(&[SHARD_KIND], VolumeSequence(from.0)..VolumeSequence::END, limit);
        let real = found.into_iter().map(|entry| SetEntry {
            sequence: Sequence(entry.sequence.0),
            shard: ShardId::from_bytes(entry.key.id),
            len: entry.len,
        });
        let mut entries: Vec<SetEntry> =
            real.chain(self.liar.claims().filter(|claim| claim.sequence >= from)).collect();
        entries.sort_unstable();
        entries
    }

    fn entries(&self, challenge: &Challenge) -> Vec<SetEntry> {
        if let Ask::Leaves { shard, .. } = challenge.ask {
            let all = self.entries_from(Sequence(0), usize::MAX);
            return all.into_iter().filter(|entry| entry.shard == shard).collect();
        }
        let mut entries = Vec::new();
        for run in &challenge.set.runs {
            let found = self.entries_from(run.from, SET_SHARDS_MAX + 1);
            entries.extend(found.into_iter().take_while(|entry| entry.sequence < run.to));
        }
        entries
    }

    /// The answer to a challenge; bytes of the shards in `stale` are made up.
    pub(crate) fn answer(&mut self, challenge: &Challenge, setup: &Setup, stale: &[ShardId]) -> Answer {
        let body = self.body(challenge, setup, stale);
        answer::sign(challenge, self.identity().1, body, &self.key)
    }

    fn body(&mut self, challenge: &Challenge, setup: &Setup, stale: &[ShardId]) -> AnswerBody {
        let entries = self.entries(challenge);
        let mut responder = match Responder::new(challenge, &entries) {
            Ok(responder) => responder,
            Err(body) => return body,
        };
        for read in responder.reads().to_vec() {
            if self.read(&mut responder, &read, stale).is_none() {
                responder.missing(&read.entry.shard);
            }
        }
        responder.finish(setup)
    }

    /// `None`: the shard is not there.
    fn read(&mut self, responder: &mut Responder, plan: &ShardRead, stale: &[ShardId]) -> Option<()> {
        let (shard, reader) = (plan.entry.shard, self.reader()?);
        let made_up = stale.contains(&shard) || self.liar.claims().any(|claim| claim.shard == shard);
        if plan.outboard {
            let len = merkle_cid::outboard_len(plan.entry.len);
            let kept = reader.read(&Key { kind: OUTBOARD_KIND, id: *shard.as_bytes() }, 0..len).ok();
            if let Some(kept) = kept.filter(|kept| kept.damaged.is_empty()) {
                responder.outboard(&shard, kept.bytes);
            } else if let Some(outboard) = recompute(&reader, &shard, plan.entry.len) {
                responder.outboard(&shard, outboard);
            }
        }
        for range in &plan.ranges {
            let mut at = range.start();
            while at < range.end() {
                let end = range.end().min(at + 8 * PIECE_LEN);
                if made_up {
                    let zeros = vec![0; (end - at) as usize];
                    responder.absorb(&shard, at, &zeros, &[]).ok()?;
                } else {
                    let read = reader.read(&shard_key(&shard), at..end).ok()?;
                    let gaps: Vec<ByteRange> =
                        read.damaged.iter().filter_map(|gap| ByteRange::new(gap.start, gap.end)).collect();
                    if !gaps.is_empty() {
                        self.damaged.insert(shard);
                    }
                    responder.absorb(&shard, at, &read.bytes, &gaps).ok()?;
                }
                at = end;
            }
        }
        Some(())
    }
}

fn recompute(reader: &Reader, shard: &ShardId, len: u64) -> Option<Vec<u8>> {
    let read = reader.read(&shard_key(shard), 0..len).ok().filter(|read| read.damaged.is_empty())?;
    let mut builder = Builder::new();
    builder.update(&read.bytes);
    Some(builder.finish().1.into_bytes())
}
