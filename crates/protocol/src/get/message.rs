//! What a read is told, what it wishes, what it meets, and how it ends.

use holdfast_dispersal::{Geometry, SegmentError};
use holdfast_types::{ByteRange, Millis, ShardIndex};
use thiserror::Error;

use crate::{effect::Token, model::Standing};

/// How shards are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Whole, and hashed.
    Whole,
    /// Only what is needed; the frames authenticate it.
    Ranges,
}

impl Mode {
    /// How to read `range` of a segment; `suspected` when bytes of it did not open before.
    pub fn choose(geometry: Geometry, range: ByteRange, suspected: bool) -> Self {
        if suspected || range.len() > geometry.segment_len() / 2 { Mode::Whole } else { Mode::Ranges }
    }
}

/// How long a read waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patience {
    /// A shard is never called slow before this.
    pub hedge_least: Millis,
    /// While there is nothing to compare with, a shard is slow after this, and a second for each 2 MiB of it.
    pub hedge_most: Millis,
    /// A shard is given up after this, and a second for each MiB of it.
    pub fetch: Millis,
    /// Times a busy node is asked again.
    pub refusals: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { hedge_least: Millis(150), hedge_most: Millis(1200), fetch: Millis::from_secs(30), refusals: 4 }
    }
}

/// A shard that somebody holds, as the catalog believes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Which.
    pub index: ShardIndex,
    /// How it stands.
    pub standing: Standing,
    /// Whether its node did not answer of late.
    pub silent: bool,
}

/// Why a shard did not come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Its bytes do not have its CID: the node lies, or its disk does.
    Corrupt,
    /// The node says that these bytes are damaged.
    Damaged(Vec<ByteRange>),
    /// The node says that it does not have it.
    Missing,
    /// No connection, or no answer in time.
    Silent,
    /// The node is busy.
    Busy {
        /// When to ask again.
        retry_after: Millis,
    },
    /// It sent what is no answer, or says no in words.
    Refused(String),
}

/// Something that was met on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Met {
    /// The shard did not come.
    Trouble(Trouble),
    /// It came late or not at all: another was asked as well.
    Slow(Millis),
    /// The catalog knows that it is damaged or lost: it was not asked.
    Known(Standing),
}

/// What the driver tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Begin.
    Begin,
    /// All bytes asked for came; of a whole shard, they have its CID.
    Came(Token),
    /// They did not.
    Failed(Token, Trouble),
    /// [`super::SegmentGet::deadline`] is over.
    Tick,
}

/// What the driver shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Read these bytes of a shard and keep them under the token.
    Fetch {
        /// Ties the reply.
        token: Token,
        /// Which shard.
        shard: ShardIndex,
        /// Which bytes of it.
        range: ByteRange,
        /// Whether they are all of it, and must have its CID.
        verify: bool,
    },
    /// Stop reading and drop what came.
    Cancel(Token),
    /// Put the range together from what came: a [`holdfast_dispersal::ReadPlan`] over these shards asks for nothing else.
    Assemble {
        /// The shards that the plan may use.
        shards: Vec<ShardIndex>,
    },
    /// It is over.
    Fail(GetError),
}

/// Why a range cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum GetError {
    /// Fewer than k shards gave what was needed.
    #[error("found {found} good shards, needed {needed}{}; bring back the nodes that hold the others, or wait for repair", list(.met))]
    TooFew {
        /// Shards that came or still might.
        found: u16,
        /// k.
        needed: u16,
        /// What happened to the others.
        met: Vec<(ShardIndex, Met)>,
    },
    /// The range or a shard is not of this segment.
    #[error(transparent)]
    Segment(SegmentError),
}

fn list(met: &[(ShardIndex, Met)]) -> String {
    let words: Vec<String> = met.iter().map(|(index, met)| format!("shard {index} {}", met.words())).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

impl Met {
    /// In words, after "shard 3".
    pub fn words(&self) -> String {
        match self {
            Met::Trouble(Trouble::Corrupt) => "is corrupt: its bytes do not have its CID".into(),
            Met::Trouble(Trouble::Damaged(ranges)) => match ranges.first() {
                Some(first) => format!("is damaged in {} ranges, the first {first}", ranges.len()),
                None => "is damaged".into(),
            },
            Met::Trouble(Trouble::Missing) => "is missing on its node".into(),
            Met::Trouble(Trouble::Silent) => "did not come: its node is silent".into(),
            Met::Trouble(Trouble::Busy { .. }) => "did not come: its node is busy".into(),
            Met::Trouble(Trouble::Refused(why)) => format!("was refused ({why})"),
            Met::Slow(waited) => format!("was slow ({waited})"),
            Met::Known(Standing::Lost) => "is lost, as the catalog knows".into(),
            Met::Known(Standing::Good | Standing::Damaged(_)) => "is damaged, as the catalog knows".into(),
        }
    }
}
