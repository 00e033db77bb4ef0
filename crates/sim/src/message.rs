//! What travels in the simulated cluster, and who is at the ends. Content is that of the wire; its
//! protobuf is left out.

use bytes::Bytes;
use holdfast_dispersal::{Extent, WrappedKey};
use holdfast_protocol::{
    effect::Token,
    message::{NodeReply, NodeRequest, Receipt, SendFailure},
    model::{Placement, SegmentRow},
    put::{CallFailure, Slot},
    upload::{ObjectSpec, SegmentSpec},
    witness::{Adopted, Commitments, Opened, Witness, WitnessId, WitnessSeed},
};
use holdfast_types::{
    ByteRange, Millis, NodeId, ObjectId, OwnerId, Policy, SegmentId, ShardId, ShardIndex, SignedGrant, UploadId,
};

/// A process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Peer {
    Auditor,
    Node(usize),
    Client(usize),
}

/// A request to a process.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Node(NodeRequest),
    Put { grant: SignedGrant, replace: bool, bytes: Bytes },
    Get { shard: ShardId, range: ByteRange },
    Lists(ListCall),
    Api(Box<Api>),
}

/// What the auditor asks a node about commitments.
#[derive(Clone, Debug)]
pub(crate) enum ListCall {
    Commitments { shard: ShardId, witness: Option<WitnessId> },
    Open { shard: ShardId, witness: WitnessId, digest: [u8; 32], seed: WitnessSeed },
    Put { shard: ShardId, list: Vec<u8> },
}

/// What a node answers about commitments.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a message of the simulation, moved a few times")]
pub(crate) enum ListReply {
    Commitments(Commitments),
    Opened(Box<Opened>),
    Adopted(Box<Adopted>),
}

/// What a client, or a node that registers, asks the auditor.
#[derive(Clone, Debug)]
pub(crate) enum Api {
    Register(usize),
    Begin {
        id: UploadId,
        owner: OwnerId,
        policy: Policy,
    },
    Stage {
        upload: UploadId,
        owner: OwnerId,
        spec: SegmentSpec,
        avoid: Vec<NodeId>,
        witnesses: Vec<(ShardIndex, Witness)>,
    },
    Note {
        upload: UploadId,
        owner: OwnerId,
        segment: SegmentId,
        receipts: Vec<(ShardIndex, Receipt)>,
    },
    Commit {
        upload: UploadId,
        owner: OwnerId,
        objects: Vec<ObjectSpec>,
    },
    /// Gives an upload up, by a client that comes back only to say so.
    Abort {
        upload: UploadId,
        owner: OwnerId,
    },
    Locate {
        owner: OwnerId,
        object: ObjectId,
    },
    Delete {
        owner: OwnerId,
        object: ObjectId,
        tombstone: Vec<u8>,
    },
}

/// What a read needs to know of an object.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) manifest: Vec<u8>,
    pub(crate) key: WrappedKey,
    pub(crate) extents: Vec<(SegmentId, Extent)>,
    pub(crate) segments: Vec<(SegmentRow, Vec<(Placement, bool)>)>,
}

/// What the auditor answers.
#[derive(Clone, Debug)]
pub(crate) enum ApiReply {
    Done,
    Staged(Vec<(Slot, Option<SignedGrant>)>),
    Noted(u32),
    Located(Box<Located>),
    NotFound,
    Failed(CallFailure),
}

/// What a read gives: the bytes with damaged ranges as zeros, or why not.
#[derive(Clone, Debug)]
pub(crate) enum Got {
    Bytes { bytes: Bytes, damaged: Vec<ByteRange> },
    NotFound,
    Busy(Millis),
    Failed(SendFailure),
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Node(Result<NodeReply, SendFailure>),
    Put(Result<Box<Receipt>, SendFailure>),
    Got(Got),
    Lists(Result<ListReply, SendFailure>),
    Api(ApiReply),
}

impl Reply {
    /// What becomes of a request that found nobody, or whose answer did not come.
    pub(crate) fn failed(request: &Request, failure: SendFailure) -> Self {
        match request {
            Request::Node(_) => Reply::Node(Err(failure)),
            Request::Put { .. } => Reply::Put(Err(failure)),
            Request::Get { .. } => Reply::Got(Got::Failed(failure)),
            Request::Lists(_) => Reply::Lists(Err(failure)),
            Request::Api(_) => {
                Reply::Api(ApiReply::Failed(CallFailure::Later { after: None, why: format!("{failure:?}") }))
            }
        }
    }
}

/// Who waits for an answer, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The auditor's core.
    Core(Token),
    /// A commitment job.
    Commit(Token),
    /// A repair job, reading a source or writing a target.
    Source(Token, ShardIndex),
    Target(Token, ShardIndex),
    /// A client's call to the auditor under the machine's token, or one of its own.
    Call(Option<Token>),
    /// A client's put or read of a shard.
    Store(Token),
    Fetch(Token),
    /// A node's registration.
    Register,
}
