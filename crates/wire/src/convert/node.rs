//! Nodes: how one registers, how it is reached, and how people see it.

use holdfast_protocol::model::{NodeLife, NodeRow};
use holdfast_types::{
    AuditId, Fence, Incarnation, NodeId, PublicKey, SecretKey, Signature, Transcript, VolumeId, Wall, ZoneName,
};

use super::{primitive::signature, status::NodeBacklog};
use crate::{
    decode::{DecodeError, Inside, fixed, fixed_or_empty, list, number, present, text},
    pb::auditor::v1 as pb,
};

/// Addresses of a node at most: a few families and a few networks.
pub const ADDRESSES_MAX: usize = 8;
/// Bytes of `host:port` at most: a DNS name has 253.
pub const ADDRESS_LEN_MAX: usize = 262;
/// Bytes of a zone, operator or cluster name at most: it is shown in tables.
pub const LABEL_LEN_MAX: usize = 64;
/// Nodes in one page at most: a node takes below 2 KiB.
pub const NODES_PAGE_MAX: u32 = 1024;

fn addresses(addresses: Vec<String>) -> Result<Vec<String>, DecodeError> {
    list("addresses", addresses, 1..=ADDRESSES_MAX, |address| text("address", address, 3..=ADDRESS_LEN_MAX))
}

/// A key and the id that must be its hash: nobody speaks for another's id.
fn keyed(key: &[u8], id: &[u8]) -> Result<(PublicKey, NodeId), DecodeError> {
    let key = PublicKey(fixed("public_key", key)?);
    let id = NodeId(fixed("node_id", id)?);
    if key.node_id() != id {
        return Err(DecodeError::new("node_id", "the hash of public_key", id));
    }
    Ok((key, id))
}

/// How to reach a node, and whom to expect there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeContact {
    /// The node.
    pub id: NodeId,
    /// Its receipt key; `id` is its hash.
    pub key: PublicKey,
    /// `host:port`, in the order to try; 1 to [`ADDRESSES_MAX`].
    pub addresses: Vec<String>,
}

impl From<&NodeRow> for NodeContact {
    fn from(row: &NodeRow) -> Self {
        Self { id: row.id, key: row.key, addresses: row.addresses.clone() }
    }
}

impl TryFrom<pb::NodeContact> for NodeContact {
    type Error = DecodeError;
    fn try_from(message: pb::NodeContact) -> Result<Self, DecodeError> {
        let (key, id) = keyed(&message.public_key, &message.node_id)?;
        Ok(Self { id, key, addresses: addresses(message.addresses)? })
    }
}

impl From<&NodeContact> for pb::NodeContact {
    fn from(contact: &NodeContact) -> Self {
        Self {
            node_id: contact.id.as_bytes().to_vec(),
            public_key: contact.key.0.to_vec(),
            addresses: contact.addresses.clone(),
        }
    }
}

/// What a node says of itself when it joins, signed by its receipt key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its receipt key.
    pub key: PublicKey,
    /// Its volume.
    pub volume: VolumeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// `host:port`, in the order to try; 1 to [`ADDRESSES_MAX`].
    pub addresses: Vec<String>,
    /// Declared failure domain.
    pub zone: ZoneName,
    /// Declared operator.
    pub operator: String,
    /// Bytes it offers.
    pub capacity: u64,
    /// SHA-256 of the DER SubjectPublicKeyInfo of its TLS certificate.
    pub tls_key_digest: [u8; 32],
    /// Its clock: an old registration must not undo a newer one.
    pub wall: Wall,
    /// The highest fence it saw.
    pub fence: Fence,
}

impl Registration {
    /// What is signed: every field, so that a stranger who overhears one can change nothing.
    pub fn transcript(&self) -> Transcript {
        let mut said = Transcript::new("holdfast 2026 node registration v1")
            .absorb("key", &self.key.0)
            .absorb("volume", self.volume.as_bytes())
            .absorb("incarnation", self.incarnation.as_bytes())
            .absorb("zone", self.zone.0.as_bytes())
            .absorb("operator", self.operator.as_bytes())
            .absorb_u64("capacity", self.capacity)
            .absorb("tls key", &self.tls_key_digest)
            .absorb_u64("wall", self.wall.0)
            .absorb("fence", &self.fence.to_bytes());
        for address in &self.addresses {
            said.push("address", address.as_bytes());
        }
        said
    }

    /// The message, signed.
    pub fn sign(&self, key: &SecretKey) -> pb::RegisterNodeRequest {
        pb::RegisterNodeRequest {
            public_key: self.key.0.to_vec(),
            volume_id: self.volume.as_bytes().to_vec(),
            incarnation: self.incarnation.as_bytes().to_vec(),
            addresses: self.addresses.clone(),
            zone: self.zone.0.clone(),
            operator: self.operator.clone(),
            capacity: self.capacity,
            tls_key_digest: self.tls_key_digest.to_vec(),
            wall_unix_ms: self.wall.0,
            fence: Some(self.fence.into()),
            signature: key.sign(&self.transcript()).to_bytes().to_vec(),
        }
    }
}

/// A registration whose signature holds: an unsigned one does not come through the door.
impl TryFrom<pb::RegisterNodeRequest> for Registration {
    type Error = DecodeError;
    fn try_from(message: pb::RegisterNodeRequest) -> Result<Self, DecodeError> {
        let said: Signature = signature("signature", &message.signature)?;
        let registration = Self {
            key: PublicKey(fixed("public_key", &message.public_key)?),
            volume: VolumeId(fixed("volume_id", &message.volume_id)?),
            incarnation: Incarnation(fixed("incarnation", &message.incarnation)?),
            addresses: addresses(message.addresses)?,
            zone: ZoneName(text("zone", message.zone, 1..=LABEL_LEN_MAX)?),
            operator: text("operator", message.operator, 0..=LABEL_LEN_MAX)?,
            // The catalog counts in signed 64-bit numbers.
            capacity: number("capacity", message.capacity, 0..=i64::MAX as u64)?,
            tls_key_digest: fixed("tls_key_digest", &message.tls_key_digest)?,
            wall: Wall(message.wall_unix_ms),
            fence: message.fence.map(Fence::from).unwrap_or_default(),
        };
        registration
            .key
            .verify(&registration.transcript(), &said)
            .map_err(|error| DecodeError::new("signature", "the receipt key's signature", error))?;
        Ok(registration)
    }
}

/// What the auditor answers a node that registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Name of the cluster.
    pub cluster: String,
    /// The auditor's key: grants are signed with it.
    pub auditor: PublicKey,
    /// Where the node stands now.
    pub life: NodeLife,
}

impl TryFrom<pb::RegisterNodeResponse> for Registered {
    type Error = DecodeError;
    fn try_from(message: pb::RegisterNodeResponse) -> Result<Self, DecodeError> {
        Ok(Self {
            cluster: text("cluster", message.cluster, 1..=LABEL_LEN_MAX)?,
            auditor: PublicKey(fixed("auditor_key", &message.auditor_key)?),
            life: node_life(message.life)?,
        })
    }
}

impl From<&Registered> for pb::RegisterNodeResponse {
    fn from(registered: &Registered) -> Self {
        Self {
            cluster: registered.cluster.clone(),
            auditor_key: registered.auditor.0.to_vec(),
            life: pb::NodeLife::from(registered.life).into(),
        }
    }
}

pub(crate) fn node_life(number: i32) -> Result<NodeLife, DecodeError> {
    match pb::NodeLife::try_from(number) {
        Ok(pb::NodeLife::Joining) => Ok(NodeLife::Joining),
        Ok(pb::NodeLife::Active) => Ok(NodeLife::Active),
        Ok(pb::NodeLife::Contained) => Ok(NodeLife::Contained),
        Ok(pb::NodeLife::Suspended) => Ok(NodeLife::Suspended),
        Ok(pb::NodeLife::Evicted) => Ok(NodeLife::Evicted),
        Ok(pb::NodeLife::Draining) => Ok(NodeLife::Draining),
        Ok(pb::NodeLife::Left) => Ok(NodeLife::Left),
        Ok(pb::NodeLife::Unspecified) | Err(_) => Err(DecodeError::new("life", "a life from 1 to 7", number)),
    }
}

impl From<NodeLife> for pb::NodeLife {
    fn from(life: NodeLife) -> Self {
        match life {
            NodeLife::Joining => Self::Joining,
            NodeLife::Active => Self::Active,
            NodeLife::Contained => Self::Contained,
            NodeLife::Suspended => Self::Suspended,
            NodeLife::Evicted => Self::Evicted,
            NodeLife::Draining => Self::Draining,
            NodeLife::Left => Self::Left,
        }
    }
}

/// A silence that is being followed up, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainmentView {
    /// The challenge that stayed unanswered.
    pub audit: AuditId,
    /// When the silence began.
    pub since: Wall,
    /// Repetitions made so far.
    pub attempts: u32,
    /// When the next one is due.
    pub next: Wall,
}

/// A node, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// How to reach it.
    pub contact: NodeContact,
    /// Declared failure domain.
    pub zone: ZoneName,
    /// Declared operator.
    pub operator: String,
    /// Where it stands.
    pub life: NodeLife,
    /// Set while it is contained.
    pub containment: Option<ContainmentView>,
    /// Its volume.
    pub volume: VolumeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Bytes it offers.
    pub capacity: u64,
    /// Bytes of committed placements and live reservations there.
    pub used: u64,
    /// When it registered first.
    pub joined: Wall,
    /// Last signed word from it.
    pub seen: Wall,
    /// Last verdict of any kind.
    pub judged: Option<Wall>,
    /// What it owes in commitments, if the auditor says.
    pub backlog: Option<NodeBacklog>,
}

impl From<&NodeRow> for pb::Node {
    fn from(row: &NodeRow) -> Self {
        Self {
            node_id: row.id.as_bytes().to_vec(),
            public_key: row.key.0.to_vec(),
            addresses: row.addresses.clone(),
            zone: row.zone.0.clone(),
            operator: row.operator.clone(),
            life: pb::NodeLife::from(row.life).into(),
            volume_id: row.volume.as_bytes().to_vec(),
            incarnation: row.incarnation.as_bytes().to_vec(),
            capacity: row.capacity,
            used: row.used,
            joined_unix_ms: row.joined.0,
            seen_unix_ms: row.seen.0,
            judged_unix_ms: row.judged.map(|at| at.0),
            containment: row.containment.as_ref().map(|silence| pb::Containment {
                audit_id: silence.audit.as_bytes().to_vec(),
                since_unix_ms: silence.since.0,
                attempts: silence.attempts,
                next_unix_ms: silence.next.0,
            }),
            backlog: None,
        }
    }
}

impl TryFrom<pb::Node> for NodeView {
    type Error = DecodeError;
    fn try_from(message: pb::Node) -> Result<Self, DecodeError> {
        let (key, id) = keyed(&message.public_key, &message.node_id)?;
        let containment = message.containment.map(|silence| {
            Ok(ContainmentView {
                audit: AuditId(fixed("audit_id", &silence.audit_id)?),
                since: Wall(silence.since_unix_ms),
                attempts: silence.attempts,
                next: Wall(silence.next_unix_ms),
            })
        });
        Ok(Self {
            contact: NodeContact { id, key, addresses: addresses(message.addresses)? },
            zone: ZoneName(text("zone", message.zone, 1..=LABEL_LEN_MAX)?),
            operator: text("operator", message.operator, 0..=LABEL_LEN_MAX)?,
            life: node_life(message.life)?,
            containment: containment.transpose().inside("containment")?,
            volume: VolumeId(fixed("volume_id", &message.volume_id)?),
            incarnation: Incarnation(fixed("incarnation", &message.incarnation)?),
            capacity: message.capacity,
            used: message.used,
            joined: Wall(message.joined_unix_ms),
            seen: Wall(message.seen_unix_ms),
            judged: message.judged_unix_ms.map(Wall),
            backlog: message.backlog.map(NodeBacklog::from),
        })
    }
}

/// What a node's placements come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeHolding {
    /// Committed placements there.
    pub shards: u64,
    /// Of them good.
    pub good: u64,
    /// Of them damaged in part.
    pub damaged: u64,
    /// Of them lost.
    pub lost: u64,
    /// Good ones whose commitments are not accepted yet.
    pub pending_commitments: u64,
    /// Their bytes.
    pub pending_bytes: u64,
}

impl From<pb::NodeHolding> for NodeHolding {
    fn from(message: pb::NodeHolding) -> Self {
        let pb::NodeHolding { shards, good, damaged, lost, pending_commitments, pending_bytes } = message;
        Self { shards, good, damaged, lost, pending_commitments, pending_bytes }
    }
}

impl From<NodeHolding> for pb::NodeHolding {
    fn from(holding: NodeHolding) -> Self {
        let NodeHolding { shards, good, damaged, lost, pending_commitments, pending_bytes } = holding;
        Self { shards, good, damaged, lost, pending_commitments, pending_bytes }
    }
}

impl TryFrom<pb::GetNodeResponse> for (NodeView, NodeHolding) {
    type Error = DecodeError;
    fn try_from(message: pb::GetNodeResponse) -> Result<Self, DecodeError> {
        let node = NodeView::try_from(present("node", message.node)?).inside("node")?;
        Ok((node, message.holding.map(NodeHolding::from).unwrap_or_default()))
    }
}

impl TryFrom<pb::GetNodeRequest> for NodeId {
    type Error = DecodeError;
    fn try_from(message: pb::GetNodeRequest) -> Result<Self, DecodeError> {
        fixed("node_id", &message.node_id).map(NodeId)
    }
}

/// From where, how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListNodes {
    /// After this node.
    pub after: Option<NodeId>,
    /// At most [`NODES_PAGE_MAX`].
    pub limit: u32,
}

impl TryFrom<pb::ListNodesRequest> for ListNodes {
    type Error = DecodeError;
    fn try_from(message: pb::ListNodesRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            after: fixed_or_empty("after", &message.after)?.map(NodeId),
            limit: number("limit", message.limit, 1..=NODES_PAGE_MAX)?,
        })
    }
}

impl From<ListNodes> for pb::ListNodesRequest {
    fn from(list: ListNodes) -> Self {
        Self { after: list.after.map(|id| id.0.to_vec()).unwrap_or_default(), limit: list.limit }
    }
}

impl TryFrom<pb::ListNodesResponse> for Vec<NodeView> {
    type Error = DecodeError;
    fn try_from(message: pb::ListNodesResponse) -> Result<Self, DecodeError> {
        list("nodes", message.nodes, 0..=NODES_PAGE_MAX as usize, NodeView::try_from)
    }
}
