//! Names for content: the BLAKE3 root, and the CIDv1 that wraps it.
//!
//! A [`Root`] is the plain BLAKE3 hash of the content, the one `b3sum` prints. A [`Cid`] says in addition how the
//! content is to be read ([`Codec`]) and is the name that the IPFS world computes for the same bytes:
//!
//! ```text
//!  byte  0     1        2      3      4 … 35
//!      ┌─────┬────────┬──────┬──────┬───────────────┐
//!      │ 01  │ 55|71  │  1e  │  20  │ root          │
//!      │ CID │ codec  │blake3│  32  │ 32 bytes      │
//!      │ v1  │raw|cbor│      │bytes │               │
//!      └─────┴────────┴──────┴──────┴───────────────┘
//! ```
//!
//! Each of the four numbers is an unsigned varint of one byte, so that a CID of this crate always has 36 bytes; its
//! text is multibase `b` (base32, lower case, no padding) and always has 59 characters. Everything else that is a CID
//! somewhere (version 0, another hash, another codec) is refused, and the error says what came.
//!
//! Sources: <https://github.com/multiformats/cid>, <https://github.com/multiformats/multicodec/blob/master/table.csv>.

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE, HEXLOWER, HEXLOWER_PERMISSIVE};
use thiserror::Error;

/// Bytes of a BLAKE3 root.
pub const ROOT_LEN: usize = 32;

/// Bytes of a CID of this crate: four one-byte varints and the root.
pub const CID_LEN: usize = 4 + ROOT_LEN;

/// Longest text that is parsed as a CID, in bytes. Ours have 59; a 64-byte hash in the least dense multibase in use
/// stays below this, so that its error can still name the hash instead of the length of the text.
pub const CID_TEXT_LEN_MAX: usize = 160;

const VERSION_1: u64 = 0x01;
const HASH_BLAKE3: u64 = 0x1e;

/// The plain, unkeyed BLAKE3 hash of some content: the root of its Merkle tree.
///
/// `Display` and `Debug` are 64 lower-case hexadecimal digits, exactly what `b3sum` prints.
///
/// ```
/// use merkle_cid::Root;
/// assert_eq!(
///     Root::of(b"").to_string(),
///     "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(pub [u8; ROOT_LEN]);

impl Root {
    /// The root of `content`, hashed at once. [`Builder`](crate::Builder) does the same from a stream.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// The root with these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ROOT_LEN]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the root.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ROOT_LEN] {
        &self.0
    }
}

impl AsRef<[u8]> for Root {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<blake3::Hash> for Root {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&HEXLOWER.encode_display(&self.0), f)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Root {
    type Err = RootTextError;

    /// Parses 64 hexadecimal digits of either case, as `b3sum` prints them.
    fn from_str(text: &str) -> Result<Self, RootTextError> {
        let refuse = || RootTextError { came: text.len() };
        if text.len() != 2 * ROOT_LEN {
            return Err(refuse());
        }
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| refuse())?;
        bytes.try_into().map(Self).map_err(|_| refuse())
    }
}

/// Text that is not a BLAKE3 root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected 64 hexadecimal digits, as b3sum prints them, came {came} characters that are not")]
pub struct RootTextError {
    /// The length of the text in bytes.
    pub came: usize,
}

/// How the content behind a [`Cid`] is to be read: the two codecs of the multicodec table that Holdfast uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Bytes without a structure, `0x55`.
    Raw,
    /// One DAG-CBOR item, `0x71`.
    DagCbor,
}

impl Codec {
    /// The code in the multicodec table.
    #[must_use]
    pub const fn code(self) -> u64 {
        self.code_byte() as u64
    }

    // Both codes are below 0x80, so that the varint is the byte itself.
    const fn code_byte(self) -> u8 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
        }
    }

    const fn from_code(code: u64) -> Option<Self> {
        match code {
            0x55 => Some(Self::Raw),
            0x71 => Some(Self::DagCbor),
            _ => None,
        }
    }
}

/// A CIDv1 over a BLAKE3 root: what a shard, a manifest or any other content is called.
///
/// ```
/// use merkle_cid::{Cid, Root};
/// let cid = Cid::raw(Root::of(b""));
/// let text = "bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi";
/// assert_eq!(cid.to_string(), text);
/// assert_eq!(text.parse::<Cid>()?, cid);
/// # Ok::<(), merkle_cid::CidError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    codec: Codec,
    root: Root,
}

impl Cid {
    /// The CID of content with this root under `codec`.
    #[must_use]
    pub const fn new(codec: Codec, root: Root) -> Self {
        Self { codec, root }
    }

    /// The CID of unstructured bytes with this root.
    #[must_use]
    pub const fn raw(root: Root) -> Self {
        Self::new(Codec::Raw, root)
    }

    /// The CID of a DAG-CBOR item whose encoding has this root.
    #[must_use]
    pub const fn dag_cbor(root: Root) -> Self {
        Self::new(Codec::DagCbor, root)
    }

    /// How the content is to be read.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The BLAKE3 hash of the content.
    #[must_use]
    pub const fn root(&self) -> Root {
        self.root
    }

    /// The binary form: version, codec, hash, length, root.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CID_LEN] {
        let mut bytes = [0; CID_LEN];
        bytes[..4].copy_from_slice(&[0x01, self.codec.code_byte(), 0x1e, 0x20]);
        bytes[4..].copy_from_slice(&self.root.0);
        bytes
    }

    /// Parses the binary form. `bytes` must be the CID and nothing else.
    ///
    /// # Errors
    /// [`CidError`] names the first field that is not what this crate writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        // A version-0 CID is a bare sha2-256 multihash: 12 20 and 32 bytes. No version-1 CID starts with 12.
        if let [0x12, 0x20, ..] = bytes {
            return Err(CidError::VersionZero);
        }
        let (version, rest) = varint(bytes, "version")?;
        if version != VERSION_1 {
            return Err(CidError::Version { came: version });
        }
        let (code, rest) = varint(rest, "codec")?;
        let codec = Codec::from_code(code).ok_or(CidError::Codec { came: code })?;
        let (hash, rest) = varint(rest, "hash function")?;
        if hash != HASH_BLAKE3 {
            return Err(CidError::HashFunction { came: hash });
        }
        let (digest_len, rest) = varint(rest, "hash length")?;
        if digest_len != ROOT_LEN as u64 {
            return Err(CidError::HashLength { came: digest_len });
        }
        let root = <[u8; ROOT_LEN]>::try_from(rest).map_err(|_| CidError::Length { came: bytes.len() })?;
        Ok(Self::new(codec, Root(root)))
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(59);
        text.push('b');
        BASE32_NOPAD.encode_append(&self.to_bytes(), &mut text);
        text.make_ascii_lowercase();
        f.pad(&text)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cid {
    type Err = CidError;

    /// Parses multibase text: base32 (`b`, `B`) or base58btc (`z`).
    fn from_str(text: &str) -> Result<Self, CidError> {
        if text.len() > CID_TEXT_LEN_MAX {
            return Err(CidError::TextLength { came: text.len() });
        }
        // Version 0 has no multibase prefix: 46 characters of base58btc, and the first two are always Qm.
        if text.len() == 46 && text.starts_with("Qm") {
            return Err(CidError::VersionZero);
        }
        let mut chars = text.chars();
        let base = chars.next().ok_or(CidError::TextLength { came: 0 })?;
        let digits = chars.as_str();
        let bytes = match base {
            'b' | 'B' => BASE32_NOPAD_NOCASE
                .decode(digits.as_bytes())
                .map_err(|error| CidError::Text { base: "base32", reason: error.to_string() })?,
            'z' => bs58::decode(digits)
                .into_vec()
                .map_err(|error| CidError::Text { base: "base58btc", reason: error.to_string() })?,
            other => return Err(CidError::Multibase { came: other }),
        };
        Self::from_bytes(&bytes)
    }
}

/// Why something is not a CID of this crate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CidError {
    /// A version-0 CID (`Qm…`, or a bare sha2-256 multihash).
    #[error("expected a CIDv1 over BLAKE3, came a CIDv0, which is sha2-256 of a UnixFS node: ask for the BLAKE3 CID")]
    VersionZero,
    /// Another version than 1.
    #[error("expected CID version 1, came version {came}")]
    Version {
        /// The version that came.
        came: u64,
    },
    /// A codec other than raw and DAG-CBOR.
    #[error("expected codec raw (0x55) or dag-cbor (0x71), came {came:#04x}")]
    Codec {
        /// The multicodec code that came.
        came: u64,
    },
    /// A multihash of another function.
    #[error("expected hash function blake3 (0x1e), came {came:#04x}: name the content by its BLAKE3 CID")]
    HashFunction {
        /// The multicodec code that came.
        came: u64,
    },
    /// A BLAKE3 multihash that is truncated or extended.
    #[error("expected a BLAKE3 hash of 32 bytes, came one said to have {came} bytes")]
    HashLength {
        /// The length that the multihash says it has.
        came: u64,
    },
    /// Bytes are missing from the hash, or follow it.
    #[error("expected 36 bytes of CID and nothing after them, came {came} bytes")]
    Length {
        /// The number of bytes that came.
        came: usize,
    },
    /// One of the four numbers is cut off, not minimal, or beyond 63 bits.
    #[error("expected a minimal varint for the {field}, came one that is cut off, padded or too large")]
    Varint {
        /// Which of the four numbers.
        field: &'static str,
    },
    /// Empty text, or more of it than any CID has.
    #[error("expected a CID of 1 to {CID_TEXT_LEN_MAX} characters, came {came}")]
    TextLength {
        /// The length of the text in bytes.
        came: usize,
    },
    /// A multibase that is not read.
    #[error(
        "expected multibase prefix 'b' or 'B' (base32) or 'z' (base58btc), came {came:?}: convert the CID to base32"
    )]
    Multibase {
        /// The prefix that came.
        came: char,
    },
    /// Text that does not decode under its multibase.
    #[error("expected {base} after the multibase prefix, came text that is not: {reason}")]
    Text {
        /// The multibase that the prefix named.
        base: &'static str,
        /// Where and how the text breaks it.
        reason: String,
    },
}

/// Reads one unsigned varint of at most nine bytes (the multiformats bound). Padded ones are refused: two byte strings
/// must not be the same CID.
fn varint<'a>(bytes: &'a [u8], field: &'static str) -> Result<(u64, &'a [u8]), CidError> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let padded = byte == 0 && index > 0;
            return if padded { Err(CidError::Varint { field }) } else { Ok((number, &bytes[index + 1..])) };
        }
    }
    Err(CidError::Varint { field })
}
