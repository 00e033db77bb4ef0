//! The bytes of a data file: headers, extents, checksums.
//!
//! Drawn in `docs/formats/volume.md`. Integers are little-endian. Nothing here
//! does more IO than reading or writing the bytes it names.
//!
//! Every checksum is CRC-32C. It guards against rot and misdirected writes, not
//! against an adversary: what a record holds is verified by its content id one
//! layer up. For that job it is the cheapest there is (22 GB/s on a core where
//! BLAKE3 does 5), it finds *every* one, two or three flipped bits
//! and every burst up to 32 bits in a piece, and misses other damage once in 2^32.

use std::io;

use crate::disk::DiskFile;
use crate::error::VolumeError;
use crate::key::{Key, Namespace};

/// Payload bytes under one checksum: one KZG blob, 4096 × 31 bytes, so that one
/// bad piece silences one blob of an audit and no more. Also 31 pages exactly.
pub const PIECE_LEN: u64 = 126_976;

/// The longest payload of a record; keeps piece counts far inside 32 bits.
pub const RECORD_LEN_MAX: u64 = 1 << 36;

/// Extents start and end on pages: a torn write of one record, even on a drive
/// with 4 KiB sectors, never touches the page of another.
pub(crate) const PAGE: u64 = 4096;

/// Two copies of the header with a page between them that the journal rewrites:
/// a torn rewrite can never take a copy with it.
pub(crate) const HEADER_LEN: u64 = 3 * PAGE;
pub(crate) const HEADER_COPIES: [u64; 2] = [0, 2 * PAGE];
pub(crate) const WATERMARK_AT: u64 = PAGE;

/// Leaves room to count on from any number found on a disk.
pub(crate) const FILE_NUMBER_MAX: u32 = u32::MAX / 2;
/// As above; 2^48 slots would be 32 PiB of journal.
pub(crate) const SLOT_NUMBER_MAX: u64 = 1 << 48;

pub(crate) const TRAILER_LEN: u64 = 128;
const COPY_LEN: usize = 128;
const MAGIC: [u8; 8] = *b"HFVOLUME";
const TRAILER_MAGIC: [u8; 8] = *b"HFRECORD";
const VERSION: u16 = 1;

/// Incompatible features this code understands: none yet.
const INCOMPATIBLE_KNOWN: u64 = 0;

/// Who a volume is. Drawn by the caller when the volume is made, and never
/// changed, so that a wiped directory is known by its new identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The volume.
    pub volume: [u8; 16],
    /// This life of it.
    pub incarnation: [u8; 16],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Journal,
    Data,
}

/// What both copies of a file's header say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) role: Role,
    pub(crate) number: u32,
    pub(crate) identity: Identity,
    /// Journal only: the number of its first slot.
    pub(crate) first: u64,
    /// Journal only: how many slots were carried over from the journal before.
    pub(crate) carried: u64,
}

/// Why a header copy could not be used.
enum CopyFault {
    Damaged,
    Newer(String),
}

impl FileHeader {
    fn encode(&self) -> [u8; COPY_LEN] {
        let mut out = [0; COPY_LEN];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10] = match self.role {
            Role::Journal => 1,
            Role::Data => 2,
        };
        out[12..16].copy_from_slice(&self.number.to_le_bytes());
        // 16..24 compatible and 24..32 incompatible bits: none set by this version.
        out[32..48].copy_from_slice(&self.identity.volume);
        out[48..64].copy_from_slice(&self.identity.incarnation);
        out[64..72].copy_from_slice(&self.first.to_le_bytes());
        out[72..80].copy_from_slice(&self.carried.to_le_bytes());
        let sum = crc32c::crc32c(&out[..124]);
        out[124..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(copy: &[u8; COPY_LEN]) -> Result<Self, CopyFault> {
        if u32_at(copy, 124) != crc32c::crc32c(&copy[..124]) || copy[0..8] != MAGIC {
            return Err(CopyFault::Damaged);
        }
        let version = u16::from_le_bytes([copy[8], copy[9]]);
        if version != VERSION {
            return Err(CopyFault::Newer(format!("format version {version}, this release reads {VERSION}")));
        }
        let unknown = u64_at(copy, 24) & !INCOMPATIBLE_KNOWN;
        if unknown != 0 {
            return Err(CopyFault::Newer(format!("unknown incompatible feature bits {unknown:#x}")));
        }
        let role = match copy[10] {
            1 => Role::Journal,
            2 => Role::Data,
            other => return Err(CopyFault::Newer(format!("unknown file role {other}"))),
        };
        let header = Self {
            role,
            number: u32_at(copy, 12),
            identity: Identity { volume: array_at(copy, 32), incarnation: array_at(copy, 48) },
            first: u64_at(copy, 64),
            carried: u64_at(copy, 72),
        };
        let sound =
            header.number <= FILE_NUMBER_MAX && header.first <= SLOT_NUMBER_MAX && header.carried <= SLOT_NUMBER_MAX;
        if sound { Ok(header) } else { Err(CopyFault::Damaged) }
    }

    /// Writes both copies. Durable only after the caller's sync.
    pub(crate) fn rewrite(&self, file: &dyn DiskFile) -> io::Result<()> {
        let copy = self.encode();
        HEADER_COPIES.iter().try_for_each(|&at| file.write_at(at, &copy))
    }

    /// Writes the header of a new file.
    pub(crate) fn write(&self, file: &dyn DiskFile) -> io::Result<()> {
        self.rewrite(file)?;
        // Fills the last page, so that the file ends where its first extent starts.
        file.write_at(HEADER_LEN - 1, &[0])
    }

    /// Reads whichever copy is whole, and says whether both were.
    ///
    /// `Ok(None)`: no copy is whole. `Err`: one is, and it is of a newer format.
    pub(crate) fn read(name: &str, file: &dyn DiskFile) -> Result<Option<(Self, bool)>, VolumeError> {
        let mut found: Option<Self> = None;
        let mut whole = true;
        for at in HEADER_COPIES {
            let mut copy = [0; COPY_LEN];
            let filled = matches!(file.read_at(at, &mut copy), Ok(COPY_LEN));
            match if filled { Self::decode(&copy) } else { Err(CopyFault::Damaged) } {
                Ok(header) => found = found.or(Some(header)),
                Err(CopyFault::Damaged) => whole = false,
                Err(CopyFault::Newer(what)) => {
                    return Err(VolumeError::Unsupported { file: name.to_owned(), what });
                }
            }
        }
        Ok(found.map(|header| (header, whole)))
    }
}

/// How many pieces a payload has.
pub(crate) fn pieces(len: u64) -> u32 {
    debug_assert!(len <= RECORD_LEN_MAX);
    // At most RECORD_LEN_MAX / PIECE_LEN, about half a million.
    len.div_ceil(PIECE_LEN) as u32
}

/// The bytes of piece `index` within a payload of `len` bytes.
pub(crate) fn piece_range(len: u64, index: u32) -> std::ops::Range<u64> {
    let start = u64::from(index) * PIECE_LEN;
    start..len.min(start + PIECE_LEN)
}

/// Disk bytes a record takes: payload, padding, checksums, trailer.
pub(crate) fn extent_len(len: u64) -> u64 {
    (len + 4 * u64::from(pieces(len)) + TRAILER_LEN).next_multiple_of(PAGE)
}

/// Where the checksum table starts, from the start of the extent.
pub(crate) fn table_at(len: u64) -> u64 {
    extent_len(len) - TRAILER_LEN - 4 * u64::from(pieces(len))
}

/// The checksum of one piece, bound to the record and the place in it, so that
/// a piece written to the wrong place is damage, however whole it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PieceSum(u32);

impl PieceSum {
    pub(crate) fn start(key: &Key, len: u64, index: u32) -> Self {
        let sum = crc32c::crc32c(b"holdfast volume piece v1");
        let sum = crc32c::crc32c_append(sum, &[key.kind]);
        let sum = crc32c::crc32c_append(sum, &key.id);
        let sum = crc32c::crc32c_append(sum, &len.to_le_bytes());
        Self(crc32c::crc32c_append(sum, &index.to_le_bytes()))
    }

    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    pub(crate) fn finish(self) -> u32 {
        self.0
    }

    pub(crate) fn of(key: &Key, len: u64, index: u32, bytes: &[u8]) -> u32 {
        let mut sum = Self::start(key, len, index);
        sum.absorb(bytes);
        sum.finish()
    }
}

/// The last 128 bytes of an extent: what it holds, for salvage without a journal.
pub(crate) fn encode_trailer(key: &Key, namespace: &Namespace, len: u64) -> [u8; TRAILER_LEN as usize] {
    let mut out = [0; TRAILER_LEN as usize];
    out[0..8].copy_from_slice(&TRAILER_MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out[10] = key.kind;
    out[16..48].copy_from_slice(&key.id);
    out[48..80].copy_from_slice(&namespace.0);
    out[80..88].copy_from_slice(&len.to_le_bytes());
    out[88..96].copy_from_slice(&extent_len(len).to_le_bytes());
    let sum = crc32c::crc32c(&out[..124]);
    out[124..].copy_from_slice(&sum.to_le_bytes());
    out
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// `N` bytes at a place the caller knows to be inside.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

pub(crate) fn journal_name(number: u32) -> String {
    format!("journal-{number:08x}")
}

pub(crate) fn data_name(number: u32) -> String {
    format!("data-{number:08x}")
}

/// The role and number in a file's name; `None` for files that are not ours.
pub(crate) fn parse_name(name: &str) -> Option<(Role, u32)> {
    let (role, digits) = match name.split_once('-')? {
        ("journal", digits) => (Role::Journal, digits),
        ("data", digits) => (Role::Data, digits),
        _ => return None,
    };
    let number = u32::from_str_radix(digits, 16).ok()?;
    let back = match role {
        Role::Journal => journal_name(number),
        Role::Data => data_name(number),
    };
    (back == name && number <= FILE_NUMBER_MAX).then_some((role, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_whole_pages_and_hold_payload_table_and_trailer() {
        for len in [0, 1, 3964, 3965, 4096, PIECE_LEN - 1, PIECE_LEN, PIECE_LEN + 1, 40 * PIECE_LEN, RECORD_LEN_MAX] {
            let extent = extent_len(len);
            assert_eq!(extent % PAGE, 0);
            assert!(table_at(len) >= len);
            assert_eq!(table_at(len) + 4 * u64::from(pieces(len)) + TRAILER_LEN, extent);
            assert!(extent - len < 4 * u64::from(pieces(len)) + TRAILER_LEN + PAGE);
        }
    }

    #[test]
    fn only_our_own_names_parse() {
        assert_eq!(parse_name("data-0000002a"), Some((Role::Data, 42)));
        assert_eq!(parse_name("journal-00000001"), Some((Role::Journal, 1)));
        for foreign in
            ["data-2a", "data-0000002A", "data-+000002a", "LOCK", "journal-", "x-00000001", "data-00000001.bak"]
        {
            assert_eq!(parse_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_piece_sum_knows_its_record_its_place_and_every_bit() {
        let key = Key { kind: 1, id: [3; 32] };
        let other = Key { kind: 2, id: [3; 32] };
        let bytes = [5; 100];
        let sum = PieceSum::of(&key, 1000, 0, &bytes);
        assert_ne!(sum, PieceSum::of(&other, 1000, 0, &bytes));
        assert_ne!(sum, PieceSum::of(&key, 1000, 1, &bytes));
        assert_ne!(sum, PieceSum::of(&key, 1001, 0, &bytes));
        for bit in 0..800 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum, PieceSum::of(&key, 1000, 0, &flipped));
        }
    }
}
