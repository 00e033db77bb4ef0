//! What a node says of commitments, and the lies it tells of them.

use holdfast_kzg::{CommitmentList, Setup};
use holdfast_protocol::{
    message::SendFailure,
    verify::CheckedList,
    witness::{self, Adopted, Adoption, Claim, Commitments, Opened, OpenedBody, Summing, WitnessSeed},
};
use holdfast_types::{BLOB_LEN, ByteRange, Millis, ShardId, Transcript};

use super::{Node, shard_key};
use crate::{
    liar::Lie,
    message::{ListCall, ListReply},
    old_copy::constants,
};

/// What a node can read of a shard.
enum Found {
    Bytes(Vec<u8>),
    Damaged(Vec<ByteRange>),
    Missing,
}

impl Node {
    pub(super) fn list_call(&mut self, call: &ListCall, setup: &Setup) -> Result<ListReply, SendFailure> {
        if self.liar.lies(Lie::Garbage) {
            return Err(SendFailure::Malformed("no answer at all".into()));
        }
        Ok(match call {
            ListCall::Commitments { shard, witness } => {
                let made_up = self.made_up(shard);
                let found = self.bytes_of(shard);
                ListReply::Commitments(match found {
                    Found::Damaged(ranges) => Commitments::Damaged(ranges),
                    Found::Missing => Commitments::Missing,
                    // Asked for once, it is computed until the next question.
                    Found::Bytes(_) if self.liar.lies(Lie::Refuse) || self.asked.insert(*shard) => {
                        Commitments::NotYet { retry_after: Millis(300), ahead: 0 }
                    }
                    Found::Bytes(bytes) => {
                        let list = made_up.map(|(list, ..)| list).or_else(|| list_of(&bytes, setup));
                        let Some(list) = list else { return Err(SendFailure::Timeout) };
                        let (life, len) = (self.identity().1, bytes.len() as u64);
                        let claim = Claim::sign(life, *shard, len, *witness, list.digest(), &self.key);
                        Commitments::Claimed { claim, list: list.encode() }
                    }
                })
            }
            ListCall::Open { shard, witness, digest, seed } => {
                let body = match (self.made_up(shard), self.bytes_of(shard)) {
                    (Some((_, y, proof)), _) => OpenedBody::Opening { y, proof },
                    (None, _) if self.liar.lies(Lie::Mute) => return Err(SendFailure::Timeout),
                    (None, Found::Damaged(ranges)) => OpenedBody::Damaged(ranges),
                    (None, Found::Missing) => OpenedBody::Missing,
                    (None, Found::Bytes(bytes)) => {
                        let mut sum = Summing::new(seed);
                        let _ = sum.absorb(0, &bytes);
                        let opening = sum.open(setup);
                        self.told.insert(*shard, (seed.clone(), opening.y));
                        OpenedBody::Opening { y: opening.y, proof: opening.proof.0 }
                    }
                };
                let life = self.identity().1;
                ListReply::Opened(Box::new(Opened::sign(life, *shard, *witness, *digest, body, &self.key)))
            }
            ListCall::Put { shard, list } => ListReply::Adopted(Box::new(self.adopt(shard, list, setup))),
        })
    }

    /// What it makes of a secret: a list, and its opening.
    fn made_up(&self, shard: &ShardId) -> Option<(CommitmentList, [u8; 32], [u8; 48])> {
        let (seed, y) = self.told.get(shard).filter(|_| self.liar.lies(Lie::Told))?;
        let len = self.liar.claims().find(|claim| claim.shard == *shard)?.len;
        let (list, proof) = constants(seed, y, len)?;
        Some((list, *y, proof))
    }

    fn adopt(&mut self, shard: &ShardId, list: &[u8], setup: &Setup) -> Adopted {
        let (digest, adoption) = match (CommitmentList::decode(list), self.bytes_of(shard)) {
            (Err(error), _) => ([0; 32], Adoption::Wrong { reason: error.to_string() }),
            (Ok(list), Found::Damaged(_) | Found::Missing) => (list.digest(), Adoption::Unreadable),
            (Ok(list), Found::Bytes(bytes)) => {
                let digest = list.digest();
                let chance = Transcript::new("sim node's chance").absorb("key", &self.key.public().0);
                let seed = WitnessSeed::new(chance.absorb("list", &digest).digest());
                let mut sum = Summing::new(&seed);
                let _ = sum.absorb(0, &bytes);
                let opening = sum.open(setup);
                let fits = list.fits(bytes.len() as u64);
                let right = CheckedList::new(list)
                    .is_ok_and(|list| fits && witness::holds(setup, &seed, &list, opening.y, opening.proof.0));
                let reason = "the list is not that of these bytes".into();
                (digest, if right { Adoption::Taken } else { Adoption::Wrong { reason } })
            }
        };
        let life = self.identity().1;
        Adopted::sign(life, *shard, digest, adoption, &self.key)
    }

    /// The shard as the node commits to it: what it has, or what it pretends to have.
    fn bytes_of(&mut self, shard: &ShardId) -> Found {
        if let Some(claim) = self.liar.claims().find(|claim| claim.shard == *shard) {
            return Found::Bytes(vec![0; claim.len as usize]);
        }
        let Some(reader) = self.reader() else { return Found::Missing };
        let Some(entry) = reader.stat(&shard_key(shard)) else { return Found::Missing };
        let Ok(mut read) = reader.read(&shard_key(shard), 0..entry.len) else { return Found::Missing };
        if !read.damaged.is_empty() {
            self.damaged.insert(*shard);
            let range = |gap: &std::ops::Range<u64>| ByteRange::new(gap.start, gap.end);
            return Found::Damaged(read.damaged.iter().filter_map(range).collect());
        }
        if self.liar.lies(Lie::FalseList) {
            let at = read.bytes.len() / 2;
            read.bytes[at] ^= 1;
        }
        Found::Bytes(read.bytes)
    }
}

fn list_of(bytes: &[u8], setup: &Setup) -> Option<CommitmentList> {
    let commitments: Result<_, _> = bytes.chunks(BLOB_LEN as usize).map(|blob| setup.commit(blob)).collect();
    CommitmentList::new(commitments.ok()?).ok()
}
