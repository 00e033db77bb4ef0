//! Shards that many nodes may hold under different segments: their bytes, their trees, their commitments. A few hundred
//! stand for a million: the auditor keeps a shard's commitments by the digest of its list, and looks up as many.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_kzg::{CommitmentList, Setup};
use holdfast_protocol::verify::CheckedList;
use holdfast_types::{Root, ShardId, Transcript};
use merkle_cid::Outboard;

/// Bytes of a shard.
pub(crate) const LEN: u64 = 1000;

/// A shard's bytes and what is known about them.
pub(crate) struct Content {
    pub(crate) shard: ShardId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) outboard: Vec<u8>,
    pub(crate) list: [u8; 32],
}

/// All of them, by number and by name, and the auditor's lists by digest.
pub(crate) struct Contents {
    pub(crate) all: Vec<Content>,
    pub(crate) by_name: BTreeMap<ShardId, usize>,
    pub(crate) lists: BTreeMap<[u8; 32], Arc<CheckedList>>,
}

impl Contents {
    /// `count` of them, committed to for real.
    pub(crate) fn make(count: usize) -> Self {
        let setup = Setup::ethereum();
        setup.prepare();
        let mut lists = BTreeMap::new();
        let mut content = |number: u64| {
            let mut bytes = vec![0; LEN as usize];
            Transcript::new("holdfast bench content").absorb_u64("n", number).stream().fill(&mut bytes);
            let commitments = vec![setup.commit(&bytes).expect("shorter than a blob")];
            let list = CheckedList::new(CommitmentList::new(commitments).expect("one")).expect("a point");
            let digest = list.list().digest();
            lists.insert(digest, Arc::new(list));
            let outboard = Outboard::of(&bytes).into_bytes();
            Content { shard: ShardId(Root::of(&bytes)), bytes, outboard, list: digest }
        };
        let all: Vec<Content> = (0..count as u64).map(&mut content).collect();
        let by_name = all.iter().enumerate().map(|(at, content)| (content.shard, at)).collect();
        Self { all, by_name, lists }
    }
}
