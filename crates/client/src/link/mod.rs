//! Links to nodes: one channel each, dialled when first used, kept while its addresses stand. What
//! comes over a link is checked in form here and in content by whoever asked.

mod body;
mod call;
mod commitments;
mod shard;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use holdfast_protocol::message::SendFailure;
use holdfast_transport::{Address, Dialer, Subject, TransportError, retry_after};
use holdfast_types::{Millis, NodeId};
use holdfast_wire::{
    DecodeError, ErrorCode, MESSAGE_LEN_MAX, WireError, pb::node::v1::node_service_client::NodeServiceClient,
};
use thiserror::Error;
use tonic::{Status, transport::Channel};

pub use shard::{ShardPart, ShardReader};

/// A node that says "later" without saying when.
const RETRY_UNSAID: Millis = Millis(1000);

/// Why a call over a link came to nothing.
#[derive(Clone, Debug, Error)]
pub enum LinkError {
    /// No connection.
    #[error("node {node} cannot be reached: {why}")]
    Unreachable {
        /// Which.
        node: NodeId,
        /// What the connection says.
        why: String,
    },
    /// No answer in time.
    #[error("node {node} did not answer in time")]
    Timeout {
        /// Which.
        node: NodeId,
    },
    /// An answer that is none.
    #[error("node {node} sent what is no answer: {why}")]
    Malformed {
        /// Which.
        node: NodeId,
        /// What was expected, what came.
        why: String,
    },
    /// The node says no, in words.
    #[error("node {node}: {error}")]
    Said {
        /// Which.
        node: NodeId,
        /// Its words, and what to do.
        error: WireError,
    },
}

impl LinkError {
    /// What the core makes of it.
    pub fn into_failure(self) -> SendFailure {
        match self {
            LinkError::Unreachable { .. } => SendFailure::Unreachable,
            LinkError::Timeout { .. } => SendFailure::Timeout,
            LinkError::Malformed { why, .. } => SendFailure::Malformed(why),
            LinkError::Said { error, .. } => match error.code {
                ErrorCode::Retry | ErrorCode::Exhausted => {
                    SendFailure::Refused { retry_after: error.retry_after.unwrap_or(RETRY_UNSAID) }
                }
                ErrorCode::Denied | ErrorCode::Conflict | ErrorCode::Invalid => SendFailure::Denied(error.message),
                ErrorCode::NotFound | ErrorCode::Corrupt | ErrorCode::Bug => SendFailure::Malformed(error.message),
            },
        }
    }

    /// Whether the node says that it does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self, LinkError::Said { error, .. } if error.code == ErrorCode::NotFound)
    }
}

/// A peer's words. One that is too busy to look at a request says so by its transport alone.
pub(crate) fn said(status: &Status) -> WireError {
    let error = WireError::from(status);
    match retry_after(status) {
        Some(span) if error.retry_after.is_none() => WireError { code: ErrorCode::Retry, ..error.retry_after(span) },
        Some(_) | None => error,
    }
}

/// One node, ready to be called. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeLink {
    node: NodeId,
    stub: NodeServiceClient<Channel>,
    /// The stub's own, for the one call that it is too slow for.
    channel: Channel,
}

impl NodeLink {
    /// Which node it is; the connection is refused if another answers.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Tells a broken connection from an answer.
    fn failed(&self, status: Status) -> LinkError {
        let node = self.node;
        if let Some(error) = TransportError::find_in(&status) {
            return LinkError::Unreachable { node, why: error.to_string() };
        }
        let broken = std::error::Error::source(&status).is_some();
        match status.code() {
            tonic::Code::DeadlineExceeded => LinkError::Timeout { node },
            tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled if broken => {
                LinkError::Unreachable { node, why: status.message().to_owned() }
            }
            _ => LinkError::Said { node, error: said(&status) },
        }
    }

    fn malformed(&self, error: &DecodeError) -> LinkError {
        LinkError::Malformed { node: self.node, why: error.to_string() }
    }
}

/// A link, and the addresses it was made for.
#[derive(Debug)]
struct Known {
    addresses: Vec<String>,
    link: NodeLink,
}

/// Channels by node.
#[derive(Clone, Debug)]
pub struct Links {
    dialer: Dialer,
    known: Arc<Mutex<BTreeMap<NodeId, Known>>>,
}

impl Links {
    /// Links that are dialled under one identity.
    pub fn new(dialer: Dialer) -> Self {
        Self { dialer, known: Arc::default() }
    }

    /// The link to a node at these addresses: the one there is, unless the addresses changed.
    pub fn to(&self, node: NodeId, addresses: &[String]) -> Result<NodeLink, LinkError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&node)
            && found.addresses == addresses
        {
            return Ok(found.link.clone());
        }
        let unreachable = |error: TransportError| LinkError::Unreachable { node, why: error.to_string() };
        let parsed: Vec<Address> =
            addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>().map_err(unreachable)?;
        let channel = self.dialer.connect_lazy(Subject::Node(node), &parsed).map_err(unreachable)?;
        let stub = NodeServiceClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_LEN_MAX)
            .max_encoding_message_size(MESSAGE_LEN_MAX);
        let link = NodeLink { node, stub, channel };
        known.insert(node, Known { addresses: addresses.to_vec(), link: link.clone() });
        Ok(link)
    }
}
