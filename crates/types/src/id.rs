//! Names. Content is named by its CID, a peer by the hash of its key, an event by a hash or a draw.

use std::{fmt, str::FromStr};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use merkle_cid::{Cid, Codec, Root};
use thiserror::Error;

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}, got {got:?}; copy the whole id as it was printed")]
pub struct IdError {
    /// What a valid text looks like.
    pub expected: &'static str,
    /// What came, cut to a printable length.
    pub got: String,
}

impl IdError {
    fn new(expected: &'static str, got: &str) -> Self {
        // A hostile text must not become a hostile log line.
        Self { expected, got: got.chars().take(80).collect() }
    }
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! content_id {
    ($(#[$doc:meta])* $name:ident, $cid:path, $codec:path, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Root);

        impl $name {
            /// The id whose BLAKE3 root is `bytes`.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(Root(bytes))
            }
            /// The 32 bytes of the root.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0.0
            }
            /// The CIDv1 that names the same content to the rest of the world.
            pub fn cid(&self) -> Cid {
                $cid(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.cid().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.cid())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                match text.parse::<Cid>() {
                    Ok(cid) if cid.codec() == $codec => Ok(Self(cid.root())),
                    _ => Err(IdError::new($expected, text)),
                }
            }
        }

        serde_as_text!($name);
    };
}

content_id!(
    /// A shard as it is stored: the BLAKE3 root of its masked bytes.
    ShardId, Cid::raw, Codec::Raw, "the CID of a shard (CIDv1, raw, blake3: bafkr4i…)"
);
content_id!(
    /// An object: the CID of its manifest.
    ObjectId, Cid::dag_cbor, Codec::DagCbor, "the CID of an object (CIDv1, dag-cbor, blake3: bafyr4i…)"
);
content_id!(
    /// The BLAKE3 root of a sealed segment's bytes, before coding and masking.
    SegmentRoot, Cid::raw, Codec::Raw, "the CID of a sealed segment (CIDv1, raw, blake3: bafkr4i…)"
);

macro_rules! hashed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// The first characters, enough for a human to tell two apart; never for a decision.
            pub fn short(&self) -> String {
                self.to_string().chars().take($prefix.len() + 8).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(|rest| BASE32_NOPAD.decode(rest.to_ascii_uppercase().as_bytes()).ok())
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| IdError::new($expected, text))
            }
        }

        serde_as_text!($name);
    };
}

hashed_id!(
    /// A node: the hash of its receipt key ([`crate::PublicKey::node_id`]).
    NodeId, "n-", "a node id: n- and 52 base32 characters"
);
hashed_id!(
    /// An owner of objects: the hash of its signing key ([`crate::PublicKey::owner_id`]).
    OwnerId, "o-", "an owner id: o- and 52 base32 characters"
);
hashed_id!(
    /// One audit: H(cluster, round, node, set digest), so that no answer fits two.
    AuditId, "a-", "an audit id: a- and 52 base32 characters"
);

macro_rules! drawn_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The id with these bytes, drawn by the caller.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| <[u8; $len]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| IdError::new($expected, text))
            }
        }

        serde_as_text!($name);
    };
}

drawn_id!(
    /// A segment of a cluster: drawn by the client that seals it.
    SegmentId, 16, "a segment id: 32 lowercase hexadecimal characters"
);
drawn_id!(
    /// One put, resumable under this id.
    UploadId, 16, "an upload id: 32 lowercase hexadecimal characters"
);
drawn_id!(
    /// One repair of one segment.
    RepairId, 16, "a repair id: 32 lowercase hexadecimal characters"
);
drawn_id!(
    /// A volume, drawn when it is made; a wiped node comes back with another.
    VolumeId, 16, "a volume id: 32 lowercase hexadecimal characters"
);
drawn_id!(
    /// A node's life between two losses of its volume.
    Incarnation, 16, "an incarnation: 32 lowercase hexadecimal characters"
);

/// 32 bytes of chance from a named source: the OS at the edges, a beacon, or a simulation's seed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Seed(pub [u8; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_own_text() {
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8);
        assert_eq!(NodeId(bytes).to_string().parse(), Ok(NodeId(bytes)));
        assert_eq!(ShardId::from_bytes(bytes).to_string().parse(), Ok(ShardId::from_bytes(bytes)));
        assert_eq!(ObjectId::from_bytes(bytes).to_string().parse(), Ok(ObjectId::from_bytes(bytes)));
        assert_eq!(SegmentId([7; 16]).to_string().parse(), Ok(SegmentId([7; 16])));
    }

    #[test]
    fn an_id_of_one_kind_is_refused_as_another() {
        let shard = ShardId::from_bytes([1; 32]).to_string();
        assert!(shard.parse::<ObjectId>().is_err());
        assert!(NodeId([1; 32]).to_string().parse::<OwnerId>().is_err());
        assert!("n-aaaa".parse::<NodeId>().is_err());
        assert!("".parse::<SegmentId>().is_err());
    }
}
