//! A shard's commitments in order, their digest, and the file they are kept in.
//! The file is drawn to the byte in `docs/formats/commitments.md`.

use holdfast_types::{SHARD_LEN_MAX, Transcript};
use thiserror::Error;

use crate::{CheckedCommitment, Commitment, POINT_LEN, PointError, blobs_of};

/// Commitments in a list at most: the blobs of a shard of [`SHARD_LEN_MAX`] bytes.
pub const BLOBS_MAX: usize = blobs_of(SHARD_LEN_MAX) as usize;

const MAGIC: [u8; 8] = *b"HFKZGCL\n";
const VERSION: u16 = 1;
/// Bits that a reader may not ignore; none is defined yet.
const INCOMPATIBLE_KNOWN: u16 = 0;
const HEADER_LEN: usize = MAGIC.len() + 2 + 2 + 2 + 2 + 4;
const DIGEST_LEN: usize = 32;

/// Bytes of an encoded list at most; refuse longer ones before reading them.
pub const LIST_LEN_MAX: usize = HEADER_LEN + BLOBS_MAX * POINT_LEN + DIGEST_LEN;

/// Why bytes are no commitment list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ListError {
    /// More commitments than a shard has blobs.
    #[error(
        "expected at most {BLOBS_MAX} commitments, one a blob of the largest shard, got {got}; it is not one shard's list"
    )]
    TooMany {
        /// Commitments that came.
        got: u64,
    },
    /// Another kind of file.
    #[error("expected a commitment list (magic HFKZGCL), got other bytes; fetch the list again")]
    Magic,
    /// A later format.
    #[error("expected a commitment list of version {VERSION}, got version {got}; use a newer holdfast to read it")]
    Version {
        /// The version that came.
        got: u16,
    },
    /// A feature this reader does not know and may not ignore.
    #[error(
        "the commitment list uses incompatible features {got:#06x} that are unknown here; use a newer holdfast to read it"
    )]
    Incompatible {
        /// The unknown bits.
        got: u16,
    },
    /// Reserved bytes are not zero: a second encoding of the same list.
    #[error("expected zero in the reserved bytes of the commitment list, got {got:#06x}; fetch the list again")]
    Reserved {
        /// The bytes that came.
        got: u16,
    },
    /// Cut off, or followed by something.
    #[error("expected {expected} bytes of commitment list, got {got}; fetch the list again")]
    Length {
        /// Bytes that the header asks for.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// Damaged on the way or on the disk.
    #[error("the commitment list does not have the digest it ends with: it is damaged; fetch the list again")]
    Digest,
}

/// A shard's commitments, one a blob, in order. Names no shard: the placement does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitmentList {
    commitments: Vec<Commitment>,
}

impl CommitmentList {
    /// The commitments of one shard: at most [`BLOBS_MAX`].
    pub fn new(commitments: Vec<Commitment>) -> Result<Self, ListError> {
        if commitments.len() > BLOBS_MAX {
            return Err(ListError::TooMany { got: commitments.len() as u64 });
        }
        Ok(Self { commitments })
    }

    /// Whether a shard of `shard_len` bytes has as many blobs as this list has commitments.
    pub fn fits(&self, shard_len: u64) -> bool {
        blobs_of(shard_len) == self.commitments.len() as u64
    }

    /// One a blob, in order.
    pub fn commitments(&self) -> &[Commitment] {
        &self.commitments
    }

    /// The list's name, which is what the catalog keeps: BLAKE3 under a domain over count and commitments.
    pub fn digest(&self) -> [u8; DIGEST_LEN] {
        Transcript::new("holdfast 2026 commitment list v1")
            .absorb_u64("count", self.commitments.len() as u64)
            .absorb("commitments", &self.concatenated())
            .digest()
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.commitments.len() * POINT_LEN + DIGEST_LEN);
        out.extend(MAGIC);
        // Version, compatible bits, incompatible bits, reserved.
        for field in [VERSION, 0, 0, 0] {
            out.extend(field.to_be_bytes());
        }
        out.extend((self.commitments.len() as u32).to_be_bytes());
        out.extend(self.concatenated());
        out.extend(self.digest());
        out
    }

    /// The inverse of [`CommitmentList::encode`]. The points are not checked yet:
    /// see [`CommitmentList::check_points`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ListError> {
        let Some((header, rest)) = bytes.split_at_checked(HEADER_LEN) else {
            return Err(ListError::Length { expected: HEADER_LEN + DIGEST_LEN, got: bytes.len() });
        };
        if header[..MAGIC.len()] != MAGIC {
            return Err(ListError::Magic);
        }
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if field(8) != VERSION {
            return Err(ListError::Version { got: field(8) });
        }
        // Compatible bits, at 10, may be ignored: that is what they are for.
        if field(12) & !INCOMPATIBLE_KNOWN != 0 {
            return Err(ListError::Incompatible { got: field(12) });
        }
        if field(14) != 0 {
            return Err(ListError::Reserved { got: field(14) });
        }
        let count = usize::from(field(16)) << 16 | usize::from(field(18));
        if count > BLOBS_MAX {
            return Err(ListError::TooMany { got: count as u64 });
        }
        let expected = HEADER_LEN + count * POINT_LEN + DIGEST_LEN;
        if bytes.len() != expected {
            return Err(ListError::Length { expected, got: bytes.len() });
        }
        let (commitments, digest) = rest.split_at(count * POINT_LEN);
        let list = Self { commitments: commitments.as_chunks().0.iter().copied().map(Commitment).collect() };
        if list.digest() != *digest {
            return Err(ListError::Digest);
        }
        Ok(list)
    }

    /// Every point parsed and checked; or the index of the first that is none, and why.
    pub fn check_points(&self) -> Result<Vec<CheckedCommitment>, (usize, PointError)> {
        let parse = |(index, commitment)| CheckedCommitment::parse(commitment).map_err(|error| (index, error));
        self.commitments.iter().enumerate().map(parse).collect()
    }

    fn concatenated(&self) -> Vec<u8> {
        self.commitments.iter().flat_map(|commitment| commitment.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: usize) -> CommitmentList {
        CommitmentList::new((0..count).map(|i| Commitment([i as u8; 48])).collect()).unwrap()
    }

    #[test]
    fn what_is_encoded_is_decoded_at_every_size() {
        for count in [0, 1, 2, 67, BLOBS_MAX] {
            let list = list(count);
            let bytes = list.encode();
            assert!(bytes.len() <= LIST_LEN_MAX);
            assert_eq!(CommitmentList::decode(&bytes), Ok(list));
        }
        assert_eq!(list(BLOBS_MAX).encode().len(), LIST_LEN_MAX);
    }

    #[test]
    fn the_file_is_the_one_that_the_format_page_draws() {
        let bytes = list(2).encode();
        assert_eq!(bytes[..20], *b"HFKZGCL\n\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02");
        assert_eq!(bytes[20..68], [0; 48]);
        assert_eq!(bytes[68..116], [1; 48]);
        let golden = "74f8a2ed4828534b7f4352be09f066c0a88a5d1b4c5ca8f4c5292dff6f680706";
        assert_eq!(blake3::Hash::from_bytes(list(2).digest()).to_hex().as_str(), golden);
        assert_eq!(bytes[116..], list(2).digest());
    }

    #[test]
    fn count_order_and_content_each_change_the_digest() {
        let (a, b) = (Commitment([1; 48]), Commitment([2; 48]));
        let digest = |commitments: &[Commitment]| CommitmentList::new(commitments.to_vec()).unwrap().digest();
        let all = [digest(&[]), digest(&[a]), digest(&[b]), digest(&[a, b]), digest(&[b, a]), digest(&[a, a])];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one));
        }
    }

    #[test]
    fn every_damage_is_refused_with_its_reason() {
        let good = list(3).encode();
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            CommitmentList::decode(&bytes)
        };
        assert_eq!(with(0, b'h'), Err(ListError::Magic));
        assert_eq!(with(9, 2), Err(ListError::Version { got: 2 }));
        assert!(with(11, 1).is_ok(), "an unknown compatible bit is ignored");
        assert_eq!(with(12, 0x80), Err(ListError::Incompatible { got: 0x8000 }));
        assert_eq!(with(15, 1), Err(ListError::Reserved { got: 1 }));
        assert_eq!(with(19, 4), Err(ListError::Length { expected: good.len() + 48, got: good.len() }));
        assert_eq!(with(16, 0xff), Err(ListError::TooMany { got: 0xff00_0003 }));
        assert_eq!(with(40, 9), Err(ListError::Digest));
        assert_eq!(with(good.len() - 1, good[good.len() - 1] ^ 1), Err(ListError::Digest));
        for cut in 0..good.len() {
            assert!(matches!(CommitmentList::decode(&good[..cut]), Err(ListError::Length { .. })));
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(CommitmentList::decode(&longer), Err(ListError::Length { .. })));
        let too_many = CommitmentList::new(vec![Commitment([0; 48]); BLOBS_MAX + 1]);
        assert_eq!(too_many, Err(ListError::TooMany { got: BLOBS_MAX as u64 + 1 }));
    }

    #[test]
    fn a_list_fits_the_shards_that_have_as_many_blobs() {
        assert!(list(0).fits(0) && list(1).fits(1) && list(2).fits(126_977));
        assert!(!list(1).fits(0) && !list(1).fits(126_977));
        assert!(list(BLOBS_MAX).fits(SHARD_LEN_MAX));
    }

    #[test]
    fn the_first_bad_point_is_named() {
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        let good = Commitment(infinity);
        let list = CommitmentList::new(vec![good, good, Commitment([0; 48]), good]).unwrap();
        assert_eq!(list.check_points(), Err((2, PointError::Encoding)));
        assert_eq!(CommitmentList::new(vec![good; 3]).unwrap().check_points().unwrap().len(), 3);
    }
}
