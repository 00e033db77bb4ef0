//! Shards on their way in and out of a node, its lists, and what it says of itself.

use bytes::Bytes;
use holdfast_protocol::message::{LIST_ENTRIES_MAX, NodeReply, NodeStat, Receipt, SetEntry};
use holdfast_types::{
    ByteRange, Fence, Incarnation, Millis, NodeId, OwnerId, PublicKey, Sequence, ShardId, SignedGrant, VolumeId, Wall,
};

use super::primitive::{grant, grant_or_empty, shard_len, signature};
use crate::{
    decode::{DecodeError, Inside, fixed, list, number, present},
    pb::node::v1 as pb,
};

/// Bytes in one chunk of a put at most; a node holds a few of them for each put.
pub const CHUNK_LEN_MAX: usize = 1 << 20;
/// Bytes in one piece of a read at most: below it gRPC's framing shows, above it a slow reader pins memory.
pub const PIECE_SENT_MAX: usize = 256 << 10;

/// A node's number for a shard.
// Attack: one that no catalog can keep would be asked to be kept for ever, by every repair and every put it is in.
fn sequence(field: &str, given: u64) -> Result<Sequence, DecodeError> {
    number(field, given, 0..=Sequence::MAX.0).map(Sequence)
}

/// One message of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutPart {
    /// First: what is about to be put.
    Header {
        /// Not verified yet.
        grant: Box<SignedGrant>,
        /// Whether a damaged copy shall be replaced.
        replace: bool,
    },
    /// Then: the next bytes, 1 to [`CHUNK_LEN_MAX`] of them.
    Chunk(Bytes),
}

impl TryFrom<pb::PutShardRequest> for PutPart {
    type Error = DecodeError;
    fn try_from(message: pb::PutShardRequest) -> Result<Self, DecodeError> {
        use pb::put_shard_request::Part;
        match present("part", message.part)? {
            Part::Header(header) => {
                Ok(PutPart::Header { grant: Box::new(grant("header.grant", &header.grant)?), replace: header.replace })
            }
            Part::Chunk(bytes) => {
                number("chunk", bytes.len(), 1..=CHUNK_LEN_MAX)?;
                Ok(PutPart::Chunk(bytes))
            }
        }
    }
}

impl From<PutPart> for pb::PutShardRequest {
    fn from(part: PutPart) -> Self {
        use pb::put_shard_request::Part;
        let part = match part {
            PutPart::Header { grant, replace } => Part::Header(pb::PutShardHeader { grant: grant.to_bytes(), replace }),
            PutPart::Chunk(bytes) => Part::Chunk(bytes),
        };
        Self { part: Some(part) }
    }
}

impl TryFrom<pb::Receipt> for Receipt {
    type Error = DecodeError;
    fn try_from(receipt: pb::Receipt) -> Result<Self, DecodeError> {
        Ok(Receipt {
            node: NodeId(fixed("node_id", &receipt.node_id)?),
            incarnation: Incarnation(fixed("incarnation", &receipt.incarnation)?),
            owner: OwnerId(fixed("owner_id", &receipt.owner_id)?),
            shard: ShardId::from_bytes(fixed("shard", &receipt.shard)?),
            len: shard_len("len", receipt.len)?,
            sequence: sequence("sequence", receipt.sequence)?,
            signature: signature("signature", &receipt.signature)?,
        })
    }
}

impl From<&Receipt> for pb::Receipt {
    fn from(receipt: &Receipt) -> Self {
        Self {
            node_id: receipt.node.as_bytes().to_vec(),
            incarnation: receipt.incarnation.as_bytes().to_vec(),
            owner_id: receipt.owner.as_bytes().to_vec(),
            shard: receipt.shard.as_bytes().to_vec(),
            len: receipt.len,
            sequence: receipt.sequence.0,
            signature: receipt.signature.to_bytes().to_vec(),
        }
    }
}

impl TryFrom<pb::PutShardResponse> for Receipt {
    type Error = DecodeError;
    fn try_from(message: pb::PutShardResponse) -> Result<Self, DecodeError> {
        Receipt::try_from(present("receipt", message.receipt)?).inside("receipt")
    }
}

/// A shard, or part of one, to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetShard {
    /// Which.
    pub shard: ShardId,
    /// Which bytes; all of them for `None`.
    pub range: Option<ByteRange>,
    /// Not verified yet.
    pub grant: Option<SignedGrant>,
}

impl TryFrom<pb::GetShardRequest> for GetShard {
    type Error = DecodeError;
    fn try_from(message: pb::GetShardRequest) -> Result<Self, DecodeError> {
        Ok(GetShard {
            shard: ShardId::from_bytes(fixed("shard", &message.shard)?),
            range: message.range.map(ByteRange::try_from).transpose().inside("range")?,
            grant: grant_or_empty("grant", &message.grant)?,
        })
    }
}

impl From<&GetShard> for pb::GetShardRequest {
    fn from(get: &GetShard) -> Self {
        Self {
            shard: get.shard.as_bytes().to_vec(),
            range: get.range.map(Into::into),
            grant: get.grant.map(|grant| grant.to_bytes()).unwrap_or_default(),
        }
    }
}

/// One message of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetPart {
    /// First: what is about to come.
    Header {
        /// Bytes of the whole shard.
        len: u64,
        /// The node's number for it.
        sequence: Sequence,
    },
    /// Bytes that passed the node's checksum; not yet verified against the CID.
    Piece {
        /// Where they start in the shard.
        offset: u64,
        /// At most [`PIECE_SENT_MAX`] of them.
        bytes: Bytes,
    },
    /// Bytes that the node says it cannot give.
    Damaged(ByteRange),
}

impl TryFrom<pb::GetShardResponse> for GetPart {
    type Error = DecodeError;
    fn try_from(message: pb::GetShardResponse) -> Result<Self, DecodeError> {
        use pb::get_shard_response::Part;
        match present("part", message.part)? {
            Part::Header(header) => Ok(GetPart::Header {
                len: shard_len("header.len", header.len)?,
                sequence: sequence("header.sequence", header.sequence)?,
            }),
            Part::Piece(piece) => {
                let len = number("piece.bytes", piece.bytes.len(), 1..=PIECE_SENT_MAX)? as u64;
                let most = holdfast_types::SHARD_LEN_MAX - len;
                Ok(GetPart::Piece { offset: number("piece.offset", piece.offset, 0..=most)?, bytes: piece.bytes })
            }
            Part::Damaged(range) => {
                let range = ByteRange::try_from(range).inside("damaged")?;
                shard_len("damaged.end", range.end())?;
                Ok(GetPart::Damaged(range))
            }
        }
    }
}

impl From<GetPart> for pb::GetShardResponse {
    fn from(part: GetPart) -> Self {
        use pb::get_shard_response::Part;
        let part = match part {
            GetPart::Header { len, sequence } => Part::Header(pb::GetShardHeader { len, sequence: sequence.0 }),
            GetPart::Piece { offset, bytes } => Part::Piece(pb::ShardPiece { offset, bytes }),
            GetPart::Damaged(range) => Part::Damaged(range.into()),
        };
        Self { part: Some(part) }
    }
}

/// From where, how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListShards {
    /// First sequence wanted.
    pub from: Sequence,
    /// At most [`LIST_ENTRIES_MAX`].
    pub limit: u32,
}

impl TryFrom<pb::ListShardsRequest> for ListShards {
    type Error = DecodeError;
    fn try_from(message: pb::ListShardsRequest) -> Result<Self, DecodeError> {
        let limit = number("limit", message.limit, 1..=LIST_ENTRIES_MAX as u32)?;
        Ok(ListShards { from: Sequence(message.from_sequence), limit })
    }
}

impl From<ListShards> for pb::ListShardsRequest {
    fn from(list: ListShards) -> Self {
        Self { from_sequence: list.from.0, limit: list.limit }
    }
}

/// A page of what a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPage {
    /// In order of sequence, at most [`LIST_ENTRIES_MAX`].
    pub entries: Vec<SetEntry>,
    /// Where the next page starts.
    pub next: Option<Sequence>,
}

impl TryFrom<pb::ListShardsResponse> for ShardPage {
    type Error = DecodeError;
    fn try_from(message: pb::ListShardsResponse) -> Result<Self, DecodeError> {
        let mut before = None;
        let entries = list("entries", message.entries, 0..=LIST_ENTRIES_MAX, |entry| {
            if before.is_some_and(|before| entry.sequence <= before) {
                return Err(DecodeError::new("sequence", "a rising number", entry.sequence));
            }
            before = Some(entry.sequence);
            Ok(SetEntry {
                sequence: sequence("sequence", entry.sequence)?,
                shard: ShardId::from_bytes(fixed("shard", &entry.shard)?),
                len: shard_len("len", entry.len)?,
            })
        })?;
        // A next that does not rise would keep the auditor listing for ever.
        let least = before.map_or(0, |last| last.saturating_add(1));
        let bound = least..=Sequence::MAX.0;
        let next = message.next_sequence.map(|next| number("next_sequence", next, bound)).transpose()?;
        Ok(ShardPage { entries, next: next.map(Sequence) })
    }
}

impl From<&ShardPage> for pb::ListShardsResponse {
    fn from(page: &ShardPage) -> Self {
        let entry = |entry: &SetEntry| pb::ShardEntry {
            sequence: entry.sequence.0,
            shard: entry.shard.as_bytes().to_vec(),
            len: entry.len,
        };
        Self { entries: page.entries.iter().map(entry).collect(), next_sequence: page.next.map(|next| next.0) }
    }
}

/// A page as the core is told of it.
pub fn list_reply(page: ShardPage) -> NodeReply {
    NodeReply::Entries { entries: page.entries, next: page.next }
}

/// What a node says of itself, with the key that its id is the hash of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its receipt key.
    pub key: PublicKey,
    /// The rest.
    pub stat: NodeStat,
    /// What it has still to commit to.
    pub backlog: CommitBacklog,
}

/// How far a node is with its commitments, by its own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitBacklog {
    /// Shards without.
    pub shards: u64,
    /// Their blobs: one commitment each.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Shards whose commitments it keeps.
    pub done: u64,
    /// What computing them takes of one of its cores.
    pub core_time: Millis,
}

impl TryFrom<pb::StatResponse> for Statement {
    type Error = DecodeError;
    fn try_from(message: pb::StatResponse) -> Result<Self, DecodeError> {
        let key = PublicKey(fixed("public_key", &message.public_key)?);
        let node = NodeId(fixed("node_id", &message.node_id)?);
        if key.node_id() != node {
            return Err(DecodeError::new("node_id", "the hash of the receipt key", node));
        }
        let stat = NodeStat {
            node,
            volume: VolumeId(fixed("volume_id", &message.volume_id)?),
            incarnation: Incarnation(fixed("incarnation", &message.incarnation)?),
            capacity: message.capacity,
            used: message.used,
            next: Sequence(message.next_sequence),
            fence: message.fence.map(Fence::from).unwrap_or_default(),
            wall: Wall(message.wall_unix_ms),
            proof: match message.fence_grant.as_slice() {
                [] => None,
                bytes => Some(Box::new(grant("fence_grant", bytes)?)),
            },
        };
        let backlog = CommitBacklog {
            shards: message.pending_shards,
            blobs: message.pending_blobs,
            bytes: message.pending_bytes,
            done: message.committed_shards,
            core_time: Millis(message.pending_core_ms),
        };
        Ok(Statement { key, stat, backlog })
    }
}

impl From<&Statement> for pb::StatResponse {
    fn from(Statement { key, stat, backlog }: &Statement) -> Self {
        Self {
            node_id: stat.node.as_bytes().to_vec(),
            public_key: key.0.to_vec(),
            volume_id: stat.volume.as_bytes().to_vec(),
            incarnation: stat.incarnation.as_bytes().to_vec(),
            capacity: stat.capacity,
            used: stat.used,
            next_sequence: stat.next.0,
            fence: Some(stat.fence.into()),
            wall_unix_ms: stat.wall.0,
            pending_shards: backlog.shards,
            pending_blobs: backlog.blobs,
            pending_bytes: backlog.bytes,
            committed_shards: backlog.done,
            pending_core_ms: backlog.core_time.0,
            fence_grant: stat.proof.as_ref().map(|grant| grant.to_bytes()).unwrap_or_default(),
        }
    }
}
