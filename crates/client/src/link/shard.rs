//! Reading a shard: bytes in order, with the ranges between them that the node cannot give. Nothing
//! here is verified against the CID yet; but the form is: in order, without gap or overlap, inside
//! the range that was asked for, and to its end.

use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{ByteRange, ShardId, SignedGrant};
use holdfast_wire::{
    convert::{GetPart, GetShard},
    pb::node::v1 as pb,
};
use tokio::time::Instant;
use tonic::Streaming;

use super::{LinkError, NodeLink};

/// Bytes that must come within the patience for a part: what the parts of a node are as a rule, and a floor for one that
/// sends less at a time.
const PART_LEN: u64 = 256 << 10;

/// What comes next of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardPart {
    /// Bytes, where they start in the shard.
    Bytes(u64, Bytes),
    /// Bytes that the node says are damaged.
    Damaged(ByteRange),
}

/// A read under way.
#[derive(Debug)]
pub struct ShardReader {
    link: NodeLink,
    stream: Streaming<pb::GetShardResponse>,
    len: u64,
    at: u64,
    end: u64,
    patience: Duration,
    /// What is left of the time that the node has for all of it. Only waiting for the node counts.
    budget: Duration,
}

impl NodeLink {
    /// Begins to read `range` of a shard whose length the catalog says is `len`. Each part must come within `patience`,
    /// and all of it within as many times that as it has parts of 256 KiB, and one; see [`ShardReader::within`].
    // Attack: a byte every half minute keeps a read, and what it is for, waiting for years.
    pub async fn get(
        &self,
        shard: ShardId,
        len: u64,
        range: ByteRange,
        grant: Option<SignedGrant>,
        patience: Duration,
    ) -> Result<ShardReader, LinkError> {
        let request = pb::GetShardRequest::from(&GetShard { shard, range: Some(range), grant });
        let mut stub = self.stub.clone();
        let opened = tokio::time::timeout(patience, stub.get_shard(request)).await;
        let stream = match opened {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(self.failed(status)),
            Err(_) => return Err(LinkError::Timeout { node: self.node }),
        };
        let end = range.end().min(len);
        let at = range.start().min(end);
        let parts = u32::try_from((end - at) / PART_LEN).unwrap_or(u32::MAX);
        let budget = patience.saturating_mul(parts.saturating_add(1));
        let mut reader = ShardReader { link: self.clone(), stream, len, at, end, patience, budget };
        match reader.part().await? {
            Some(GetPart::Header { len: got, .. }) if got == len => Ok(reader),
            Some(GetPart::Header { len: got, .. }) => {
                Err(reader.malformed(format!("expected a shard of {len} bytes, got {got}")))
            }
            other => Err(reader.malformed(format!("expected a header first, got {}", name(other.as_ref())))),
        }
    }
}

impl ShardReader {
    /// Gives the node no longer than `budget` for what is still to come, if that is less than it has.
    #[must_use]
    pub fn within(self, budget: Duration) -> Self {
        Self { budget: self.budget.min(budget), ..self }
    }

    /// Bytes of the whole shard.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the shard has no bytes; none has.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next part; `None` once the whole range came.
    pub async fn next(&mut self) -> Result<Option<ShardPart>, LinkError> {
        let Some(part) = self.part().await? else {
            if self.at < self.end {
                return Err(
                    self.malformed(format!("expected bytes up to {}, the stream ended at {}", self.end, self.at))
                );
            }
            return Ok(None);
        };
        let (start, len) = match &part {
            GetPart::Piece { offset, bytes } => (*offset, bytes.len() as u64),
            GetPart::Damaged(range) => (range.start(), range.len()),
            GetPart::Header { .. } => return Err(self.malformed("expected one header, got another".into())),
        };
        if start != self.at || len == 0 || len > self.end - self.at {
            let (at, end) = (self.at, self.end);
            return Err(self.malformed(format!("expected bytes from {at} on, up to {end}, got {len} at {start}")));
        }
        self.at += len;
        Ok(match part {
            GetPart::Piece { offset, bytes } => Some(ShardPart::Bytes(offset, bytes)),
            GetPart::Damaged(range) => Some(ShardPart::Damaged(range)),
            GetPart::Header { .. } => None,
        })
    }

    async fn part(&mut self) -> Result<Option<GetPart>, LinkError> {
        let node = self.link.node;
        let began = Instant::now();
        let came = tokio::time::timeout(self.patience.min(self.budget), self.stream.message()).await;
        self.budget = self.budget.saturating_sub(began.elapsed());
        let message = match came {
            Ok(Ok(message)) => message,
            Ok(Err(status)) => return Err(self.link.failed(status)),
            Err(_) => return Err(LinkError::Timeout { node }),
        };
        message.map(GetPart::try_from).transpose().map_err(|error| self.link.malformed(&error))
    }

    fn malformed(&self, why: String) -> LinkError {
        LinkError::Malformed { node: self.link.node, why }
    }
}

fn name(part: Option<&GetPart>) -> &'static str {
    match part {
        None => "the end",
        Some(GetPart::Header { .. }) => "a header",
        Some(GetPart::Piece { .. }) => "bytes",
        Some(GetPart::Damaged(_)) => "damage",
    }
}
