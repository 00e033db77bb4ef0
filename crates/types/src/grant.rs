//! A grant: the auditor's short-lived permission for one operation of one owner on one node.
//! Whoever holds it may do that one thing there, and nothing else anywhere.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Fence, NodeId, OwnerId, PublicKey, SecretKey, Signature, SignatureError, Transcript, Wall};

/// Bytes of an encoded signed grant at most: fixed fields, so a longer one is no grant.
pub const GRANT_LEN_MAX: usize = 256;

/// What a grant permits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Operation {
    /// Store these bytes, and only these.
    Put = 1,
    /// Read them.
    Get = 2,
    /// Delete them.
    Delete = 3,
}

impl Operation {
    /// The operation with this number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Put),
            2 => Some(Self::Get),
            3 => Some(Self::Delete),
            _ => None,
        }
    }
}

/// Why a grant does not permit what is asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GrantError {
    /// Too short, too long, or an unknown number in it.
    #[error(
        "expected a grant of {expected} bytes and known numbers, got {got} bytes that are none; ask the auditor for a new one"
    )]
    Malformed {
        /// Bytes of a grant.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// Not signed by the cluster's auditor.
    #[error("the grant's signature does not hold: {0}; ask this cluster's auditor for a new one")]
    Signature(#[from] SignatureError),
    /// Valid, but for something else.
    #[error("the grant permits another {field} than asked for; ask the auditor for one that fits")]
    Other {
        /// Which field differs.
        field: &'static str,
    },
    /// Too late.
    #[error("the grant expired {late_ms} ms ago by this node's clock; ask the auditor for a new one")]
    Expired {
        /// How late, in milliseconds, with the skew already forgiven.
        late_ms: u64,
    },
}

/// One permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// What may be done.
    pub operation: Operation,
    /// On which node.
    pub node: NodeId,
    /// For whom: the namespace and quota it counts against.
    pub owner: OwnerId,
    /// The content: kind of the record (0 for a shard) and its 32-byte name.
    pub kind: u8,
    /// The 32 bytes of the content's root.
    pub content: [u8; 32],
    /// Length in bytes of the content; 0 where it does not matter.
    pub len: u64,
    /// The lease under which it was granted; zero outside leases.
    pub fence: Fence,
    /// Until when, by the wall clock.
    pub expires: Wall,
}

impl Grant {
    const BODY_LEN: usize = 1 + 32 + 32 + 1 + 32 + 8 + Fence::LEN + 8;
    /// Bytes of a signed grant.
    pub const SIGNED_LEN: usize = Self::BODY_LEN + Signature::LEN;

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::SIGNED_LEN);
        out.push(self.operation as u8);
        out.extend(self.node.as_bytes());
        out.extend(self.owner.as_bytes());
        out.push(self.kind);
        out.extend(self.content);
        out.extend(self.len.to_be_bytes());
        out.extend(self.fence.to_bytes());
        out.extend(self.expires.0.to_be_bytes());
        out
    }

    fn transcript(&self) -> Transcript {
        Transcript::new("holdfast 2026 grant v1").absorb("grant", &self.body())
    }

    /// Signs it with the auditor's key.
    pub fn sign(self, key: &SecretKey) -> SignedGrant {
        SignedGrant { grant: self, signature: key.sign(&self.transcript()) }
    }
}

/// A grant with the auditor's signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedGrant {
    /// What it permits, if the signature holds.
    pub grant: Grant,
    /// The auditor's.
    pub signature: Signature,
}

impl SignedGrant {
    /// Fixed-length bytes: the fields in order, big-endian, then the signature.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.grant.body();
        out.extend(self.signature.to_bytes());
        out
    }

    /// The inverse of [`SignedGrant::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GrantError> {
        let malformed = || GrantError::Malformed { expected: Grant::SIGNED_LEN, got: bytes.len() };
        if bytes.len() != Grant::SIGNED_LEN {
            return Err(malformed());
        }
        let mut rest = bytes;
        let operation = Operation::from_u8(take::<1>(&mut rest)[0]).ok_or_else(malformed)?;
        let grant = Grant {
            operation,
            node: NodeId(take(&mut rest)),
            owner: OwnerId(take(&mut rest)),
            kind: take::<1>(&mut rest)[0],
            content: take(&mut rest),
            len: u64::from_be_bytes(take(&mut rest)),
            fence: Fence::from_bytes(take(&mut rest)),
            expires: Wall(u64::from_be_bytes(take(&mut rest))),
        };
        let signature = Signature::from_bytes(rest).ok_or_else(malformed)?;
        Ok(Self { grant, signature })
    }

    /// Whether `auditor` gave it at some time, to whomever: what it says of the past, expired or not.
    pub fn is_signed_by(&self, auditor: &PublicKey) -> bool {
        auditor.verify(&self.grant.transcript(), &self.signature).is_ok()
    }

    /// The grant, if `auditor` signed it, `node` is the one it names, and it has not expired by
    /// more than `skew_ms` at `wall`.
    pub fn verify(&self, auditor: &PublicKey, node: &NodeId, wall: Wall, skew_ms: u64) -> Result<&Grant, GrantError> {
        auditor.verify(&self.grant.transcript(), &self.signature)?;
        if self.grant.node != *node {
            return Err(GrantError::Other { field: "node" });
        }
        let deadline = self.grant.expires.0.saturating_add(skew_ms);
        if wall.0 > deadline {
            return Err(GrantError::Expired { late_ms: wall.0 - deadline });
        }
        Ok(&self.grant)
    }
}

/// The next `N` bytes of a slice whose total length was checked before.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let (head, tail) = rest.split_at(N.min(rest.len()));
    out[..head.len()].copy_from_slice(head);
    *rest = tail;
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            operation: Operation::Put,
            node: NodeId([1; 32]),
            owner: OwnerId([2; 32]),
            kind: 0,
            content: [3; 32],
            len: 77,
            fence: Fence { epoch: 1, counter: 2 },
            expires: Wall(1000),
        }
    }

    #[test]
    fn a_grant_reads_back_and_holds() {
        let key = SecretKey::from_seed(&[9; 32]);
        let signed = grant().sign(&key);
        let bytes = signed.to_bytes();
        assert_eq!(bytes.len(), Grant::SIGNED_LEN);
        assert!(bytes.len() <= GRANT_LEN_MAX);
        let back = SignedGrant::from_bytes(&bytes).expect("own bytes");
        assert_eq!(back, signed);
        assert_eq!(back.verify(&key.public(), &NodeId([1; 32]), Wall(1000), 0), Ok(&grant()));
    }

    #[test]
    fn any_changed_byte_voids_a_grant() {
        let key = SecretKey::from_seed(&[9; 32]);
        let bytes = grant().sign(&key).to_bytes();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let held = SignedGrant::from_bytes(&bad)
                .is_ok_and(|signed| signed.verify(&key.public(), &signed.grant.node, Wall(0), 0).is_ok());
            assert!(!held, "byte {at}");
        }
    }

    #[test]
    fn a_grant_for_another_node_or_another_time_is_refused() {
        let key = SecretKey::from_seed(&[9; 32]);
        let signed = grant().sign(&key);
        let other = signed.verify(&key.public(), &NodeId([7; 32]), Wall(0), 0);
        assert_eq!(other, Err(GrantError::Other { field: "node" }));
        let late = signed.verify(&key.public(), &NodeId([1; 32]), Wall(1500), 100);
        assert_eq!(late, Err(GrantError::Expired { late_ms: 400 }));
    }
}
