//! An object and how it stands: segment by segment, shard by shard, as the catalog believes.

use holdfast_protocol::model::Standing;
use holdfast_types::{Code, NodeId, ObjectId, SegmentId, SegmentRoot, ShardId, ShardIndex, Wall};
use holdfast_wire::convert::{LocateExtents, ObjectSummary, SegmentLocation, ShardCommitment};

use crate::{Client, ClientError};

/// One shard of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStat {
    /// Which.
    pub index: ShardIndex,
    /// Its name.
    pub shard: ShardId,
    /// Who holds it.
    pub node: NodeId,
    /// What is believed of it.
    pub standing: Standing,
    /// Whether its node did not answer of late.
    pub silent: bool,
    /// Whether folds cover it, and by whose word, if the auditor says.
    pub commitment: Option<ShardCommitment>,
}

/// One segment that holds bytes of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStat {
    /// Which.
    pub id: SegmentId,
    /// BLAKE3 root of its sealed bytes.
    pub root: SegmentRoot,
    /// Sealed bytes.
    pub len: u64,
    /// Of them the object's.
    pub object_len: u64,
    /// Its code.
    pub code: Code,
    /// Bytes of each shard.
    pub shard_len: u64,
    /// The shards that somebody holds, in order of index.
    pub shards: Vec<ShardStat>,
}

impl SegmentStat {
    fn of(location: SegmentLocation) -> Self {
        let SegmentLocation { id, root, len, code, shard_len, shards, .. } = location;
        let shards = shards.into_iter().map(|shard| ShardStat {
            index: shard.index,
            shard: shard.shard,
            node: shard.node.id,
            standing: shard.standing,
            silent: shard.silent,
            commitment: shard.commitment,
        });
        Self { id, root, len, object_len: 0, code, shard_len, shards: shards.collect() }
    }

    /// Shards believed good.
    pub fn good(&self) -> u16 {
        self.shards.iter().filter(|shard| shard.standing.is_good()).count() as u16
    }

    /// Of the shards believed good those whose nodes answer: the others may be there, and nobody can say.
    pub fn within_reach(&self) -> u16 {
        self.shards.iter().filter(|shard| shard.standing.is_good() && !shard.silent).count() as u16
    }

    /// Good shards within reach over k: how many more may go. Negative when that many are missing.
    pub fn spare(&self) -> i32 {
        i32::from(self.within_reach()) - i32::from(self.code.data())
    }
}

/// An object and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStat {
    /// What the list says of it.
    pub summary: ObjectSummary,
    /// Bytes of the object, by its own manifest.
    pub plain_len: u64,
    /// Its media type, if its owner said.
    pub media_type: Option<String>,
    /// The policy it was stored under.
    pub policy: String,
    /// Names in its envelope.
    pub names: Vec<String>,
    /// When it was stored, by the owner's clock.
    pub created: Wall,
    /// Its segments, in order of its bytes.
    pub segments: Vec<SegmentStat>,
}

impl ObjectStat {
    /// The fewest spare shards of any segment.
    pub fn worst_spare(&self) -> Option<i32> {
        self.segments.iter().map(SegmentStat::spare).min()
    }
}

impl Client {
    /// An object and how it stands.
    ///
    /// # Errors
    /// [`ClientError::Said`] with `NotFound` when the owner has no such object.
    pub async fn stat(&self, object: ObjectId) -> Result<ObjectStat, ClientError> {
        let opened = self.open_object(object).await?;
        let index = opened.manifest.open(&opened.key).map_err(|error| ClientError::Open { object, error })?;
        let mut extents = self.auditor.locate(LocateExtents { object, sealed: None }).await?;
        let mut segments: Vec<SegmentStat> = Vec::new();
        while let Some(extent) = extents.next().await? {
            segments.extend(extent.segment.map(SegmentStat::of));
            let segment = segments.last_mut();
            let segment = segment.ok_or_else(|| ClientError::malformed("LocateExtents", "expected a segment first"))?;
            segment.object_len += extent.len;
        }
        let envelope = opened.envelope.body();
        Ok(ObjectStat {
            plain_len: index.plain_len,
            media_type: index.media_type,
            policy: envelope.policy.clone(),
            names: envelope.names.clone(),
            created: envelope.created,
            summary: opened.summary,
            segments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_shard_is_none_to_spare() {
        let shard = |index: u16, standing, silent| ShardStat {
            index: ShardIndex(index),
            shard: ShardId::from_bytes([index as u8; 32]),
            node: NodeId([index as u8; 32]),
            standing,
            silent,
            commitment: None,
        };
        let segment = SegmentStat {
            id: SegmentId([1; 16]),
            root: SegmentRoot::from_bytes([1; 32]),
            len: 1,
            object_len: 1,
            code: Code::new(2, 2).unwrap(),
            shard_len: 1,
            shards: vec![
                shard(0, Standing::Good, false),
                shard(1, Standing::Good, true),
                shard(2, Standing::Good, false),
                shard(3, Standing::Lost, true),
            ],
        };
        assert_eq!((segment.good(), segment.within_reach(), segment.spare()), (3, 2, 0));
    }
}
