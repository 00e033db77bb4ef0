//! The frame of every record, and the strict reading of its fields.

use std::{collections::BTreeMap, fmt};

use holdfast_types::{RECORD_LEN_MAX, Root, SignatureError};
use ipld_core::{cid::Cid as IpldCid, ipld::Ipld};
use merkle_cid::{Cid, Codec};
use thiserror::Error;

/// The one version there is.
const VERSION: u64 = 1;
/// Bits that a reader must know to read a record; none yet.
const INCOMPATIBLE_KNOWN: u64 = 0;
/// Bits that a reader may pass over; none yet.
const COMPATIBLE_KNOWN: u64 = 0;

/// What a record is: the text under `holdfast` in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum RecordKind {
    /// [`super::Manifest`].
    Manifest = 1,
    /// A page of a manifest's frame table.
    FramePage = 2,
    /// [`super::Envelope`].
    Envelope = 3,
    /// [`super::SegmentDescriptor`].
    Segment = 4,
    /// A page of a descriptor's extents.
    ExtentPage = 5,
    /// [`super::Tombstone`].
    Tombstone = 6,
    /// [`crate::Checkpoint`]: in a client's own files only.
    Checkpoint = 7,
}

impl RecordKind {
    const ALL: [Self; 7] = [
        Self::Manifest,
        Self::FramePage,
        Self::Envelope,
        Self::Segment,
        Self::ExtentPage,
        Self::Tombstone,
        Self::Checkpoint,
    ];

    /// The text in the record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::FramePage => "frame-page",
            Self::Envelope => "envelope",
            Self::Segment => "segment",
            Self::ExtentPage => "extent-page",
            Self::Tombstone => "tombstone",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// The kind with this number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// What `bytes` say they are: for whoever finds records without a catalog.
    pub fn of(bytes: &[u8]) -> Result<Self, RecordError> {
        let (map, _) = parse("record", bytes, RECORD_LEN_MAX)?;
        let named = |kind: &Self| matches!(map.get("holdfast"), Some(Ipld::String(name)) if name == kind.name());
        Self::ALL.into_iter().find(named).ok_or(RecordError::Kind { expected: "a record of Holdfast" })
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes are no record, or fields make none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Above the bound of every record.
    #[error("expected a {kind} of at most {max} bytes, got {len}; larger ones are paged")]
    TooLong {
        /// What it is.
        kind: &'static str,
        /// The bound.
        max: usize,
        /// What came.
        len: usize,
    },
    /// Not DAG-CBOR, or not a map.
    #[error("expected a {kind} as a DAG-CBOR map, got bytes that are none: {reason}; fetch it again")]
    Malformed {
        /// What it should be.
        kind: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// Another encoding of the same values: the record would have two names.
    #[error("expected a {kind} in canonical DAG-CBOR, got another encoding of it; fetch it again")]
    NotCanonical {
        /// What it should be.
        kind: &'static str,
    },
    /// Another kind of record, or none of ours.
    #[error("expected {expected}, got another kind of record; fetch the right one")]
    Kind {
        /// What it should be.
        expected: &'static str,
    },
    /// Written by a version that this one cannot read.
    #[error("expected a {kind} with {expected}, got {got}; upgrade holdfast to read it")]
    Incompatible {
        /// What it is.
        kind: &'static str,
        /// What this version reads.
        expected: String,
        /// What came.
        got: String,
    },
    /// A field that is missing or cannot be.
    #[error("field {field:?} of the {kind}: expected {expected}; whoever wrote it broke the format")]
    Field {
        /// What it is.
        kind: &'static str,
        /// Which field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A field that no version this one knows has.
    #[error("the {kind} has a field {field:?} that this version does not know; upgrade holdfast to read it")]
    UnknownField {
        /// What it is.
        kind: &'static str,
        /// Which field, cut to a printable length.
        field: String,
    },
    /// A signature that does not hold.
    #[error("the {kind} is not signed as it should be: {error}; do not use it, fetch it from another place")]
    Signature {
        /// What it is.
        kind: &'static str,
        /// Why.
        error: SignatureError,
    },
    /// Signed, but by somebody else.
    #[error("the {kind} is signed by another key than expected; do not use it, fetch it from another place")]
    Signer {
        /// What it is.
        kind: &'static str,
    },
}

/// Version, compatible bits, incompatible bits.
pub(super) fn format() -> Ipld {
    Ipld::List([VERSION, COMPATIBLE_KNOWN, INCOMPATIBLE_KNOWN].map(number).to_vec())
}

/// The bytes of a record with these fields.
pub(super) fn encode<const N: usize>(
    kind: RecordKind,
    fields: [(&'static str, Ipld); N],
    max: usize,
) -> Result<Vec<u8>, RecordError> {
    let mut map: BTreeMap<String, Ipld> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    map.insert("holdfast".to_owned(), text(kind.name()));
    map.insert("format".to_owned(), format());
    let bytes = canonical(kind.name(), &Ipld::Map(map))?;
    if bytes.len() > max {
        return Err(RecordError::TooLong { kind: kind.name(), max, len: bytes.len() });
    }
    Ok(bytes)
}

pub(super) fn canonical(kind: &'static str, value: &Ipld) -> Result<Vec<u8>, RecordError> {
    serde_ipld_dagcbor::to_vec(value).map_err(|error| RecordError::Malformed { kind, reason: error.to_string() })
}

/// The fields of any record, `format` among them, and its compatible bits.
fn parse(kind: &'static str, bytes: &[u8], max: usize) -> Result<(BTreeMap<String, Ipld>, u64), RecordError> {
    if bytes.len() > max {
        return Err(RecordError::TooLong { kind, max, len: bytes.len() });
    }
    let malformed = |reason: String| RecordError::Malformed { kind, reason: reason.chars().take(120).collect() };
    let value: Ipld = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if canonical(kind, &value)? != bytes {
        return Err(RecordError::NotCanonical { kind });
    }
    let Ipld::Map(map) = value else { return Err(malformed("not a map".to_owned())) };
    let numbers: Option<Vec<u64>> = match map.get("format") {
        Some(Ipld::List(list)) => list.iter().map(|item| as_number(item.clone())).collect(),
        _ => None,
    };
    let Some([version, compatible, incompatible]) = numbers.as_deref() else {
        return Err(RecordError::Kind { expected: kind });
    };
    if *version != VERSION {
        let (expected, got) = (format!("version {VERSION}"), format!("version {version}"));
        return Err(RecordError::Incompatible { kind, expected, got });
    }
    if incompatible & !INCOMPATIBLE_KNOWN != 0 {
        let expected = format!("incompatible bits {INCOMPATIBLE_KNOWN:#x}");
        return Err(RecordError::Incompatible { kind, expected, got: format!("{incompatible:#x}") });
    }
    Ok((map, *compatible))
}

/// The fields of a record, taken out one by one.
pub(super) struct Fields {
    kind: &'static str,
    format: Ipld,
    map: BTreeMap<String, Ipld>,
    lenient: bool,
}

/// Reads the frame of a record of `kind`.
pub(super) fn decode(kind: RecordKind, bytes: &[u8], max: usize) -> Result<Fields, RecordError> {
    let (mut map, compatible) = parse(kind.name(), bytes, max)?;
    match map.remove("holdfast") {
        Some(Ipld::String(name)) if name == kind.name() => {}
        _ => return Err(RecordError::Kind { expected: kind.name() }),
    }
    let format = map.remove("format").unwrap_or(Ipld::Null);
    Ok(Fields { kind: kind.name(), format, map, lenient: compatible & !COMPATIBLE_KNOWN != 0 })
}

impl Fields {
    /// The fields of a map inside a record.
    pub(super) fn inner(&mut self, field: &'static str) -> Result<Self, RecordError> {
        match self.map.remove(field) {
            Some(Ipld::Map(map)) => {
                Ok(Self { kind: self.kind, format: self.format.clone(), map, lenient: self.lenient })
            }
            _ => Err(self.wrong(field, "a map")),
        }
    }

    pub(super) fn wrong(&self, field: &'static str, expected: &'static str) -> RecordError {
        RecordError::Field { kind: self.kind, field, expected }
    }

    fn take<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(Ipld) -> Option<T>,
    ) -> Result<T, RecordError> {
        self.map.remove(field).and_then(read).ok_or_else(|| self.wrong(field, expected))
    }

    pub(super) fn number(&mut self, field: &'static str) -> Result<u64, RecordError> {
        self.take(field, "a number below 2^64", as_number)
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Vec<u8>, RecordError> {
        self.take(field, "bytes", as_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        self.take(field, "bytes of the field's own length", as_array)
    }

    pub(super) fn link(&mut self, field: &'static str, codec: Codec) -> Result<Root, RecordError> {
        self.take(field, "a CID over BLAKE3 of the right codec", |value| as_link(value, codec))
    }

    pub(super) fn list(&mut self, field: &'static str) -> Result<Vec<Ipld>, RecordError> {
        self.take(field, "a list", as_list)
    }

    /// A field that may be null.
    pub(super) fn optional<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(Ipld) -> Option<T>,
    ) -> Result<Option<T>, RecordError> {
        self.take(field, expected, |value| match value {
            Ipld::Null => Some(None),
            value => read(value).map(Some),
        })
    }

    /// The fields as they are, for a signature over them.
    pub(super) const fn map(&self) -> &BTreeMap<String, Ipld> {
        &self.map
    }

    /// Version and bits, as they came.
    pub(super) const fn format(&self) -> &Ipld {
        &self.format
    }

    pub(super) fn holds_bytes(&self, field: &str) -> bool {
        matches!(self.map.get(field), Some(Ipld::Bytes(_)))
    }

    /// Ends the reading: nothing may be left, unless a compatible bit announced it.
    pub(super) fn done(self) -> Result<(), RecordError> {
        match self.map.into_keys().next() {
            Some(field) if !self.lenient => {
                Err(RecordError::UnknownField { kind: self.kind, field: field.chars().take(40).collect() })
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn number(value: u64) -> Ipld {
    Ipld::Integer(i128::from(value))
}

pub(super) fn text(value: &str) -> Ipld {
    Ipld::String(value.to_owned())
}

pub(super) fn bytes(value: &[u8]) -> Ipld {
    Ipld::Bytes(value.to_vec())
}

pub(super) fn link(cid: Cid) -> Ipld {
    Ipld::Link(IpldCid::try_from(cid.to_bytes().as_slice()).expect("every CID of merkle-cid is a CID"))
}

pub(super) fn optional<T>(value: Option<T>, write: impl FnOnce(T) -> Ipld) -> Ipld {
    value.map_or(Ipld::Null, write)
}

pub(super) fn as_number(value: Ipld) -> Option<u64> {
    match value {
        Ipld::Integer(number) => number.try_into().ok(),
        _ => None,
    }
}

pub(super) fn as_bytes(value: Ipld) -> Option<Vec<u8>> {
    match value {
        Ipld::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn as_array<const N: usize>(value: Ipld) -> Option<[u8; N]> {
    as_bytes(value)?.try_into().ok()
}

pub(super) fn as_text(value: Ipld) -> Option<String> {
    match value {
        Ipld::String(text) => Some(text),
        _ => None,
    }
}

pub(super) fn as_list(value: Ipld) -> Option<Vec<Ipld>> {
    match value {
        Ipld::List(list) => Some(list),
        _ => None,
    }
}

/// A list of exactly `N` items.
pub(super) fn as_tuple<const N: usize>(value: Ipld) -> Option<[Ipld; N]> {
    as_list(value)?.try_into().ok()
}

pub(super) fn as_link(value: Ipld, codec: Codec) -> Option<Root> {
    let Ipld::Link(cid) = value else { return None };
    let cid = Cid::from_bytes(&cid.to_bytes()).ok()?;
    (cid.codec() == codec).then(|| cid.root())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = RECORD_LEN_MAX;

    fn record(version: u64, compatible: u64, incompatible: u64, extra: bool) -> Vec<u8> {
        let mut map = BTreeMap::new();
        map.insert("holdfast".to_owned(), text("tombstone"));
        map.insert("format".to_owned(), Ipld::List([version, compatible, incompatible].map(number).to_vec()));
        map.insert("n".to_owned(), number(7));
        if extra {
            map.insert("extra".to_owned(), number(1));
        }
        serde_ipld_dagcbor::to_vec(&Ipld::Map(map)).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<u64, RecordError> {
        let mut fields = decode(RecordKind::Tombstone, bytes, MAX)?;
        let n = fields.number("n")?;
        fields.done().map(|()| n)
    }

    #[test]
    fn an_unknown_incompatible_bit_or_version_is_refused_with_a_message() {
        assert_eq!(read(&record(1, 0, 0, false)), Ok(7));
        for bytes in [record(1, 0, 4, false), record(2, 0, 0, false)] {
            let error = read(&bytes).unwrap_err();
            assert!(matches!(error, RecordError::Incompatible { .. }));
            assert!(error.to_string().contains("upgrade"), "{error}");
        }
    }

    #[test]
    fn a_field_announced_by_a_compatible_bit_is_passed_over_and_no_other() {
        assert_eq!(read(&record(1, 1, 0, true)), Ok(7));
        assert!(matches!(read(&record(1, 0, 0, true)), Err(RecordError::UnknownField { .. })));
    }

    #[test]
    fn another_encoding_of_the_same_values_is_refused() {
        let mut bytes = record(1, 0, 0, false);
        // 7 as a two-byte integer: 18 07.
        let at = bytes.windows(3).position(|part| part == [0x61, b'n', 7]).unwrap() + 2;
        bytes.splice(at..=at, [0x18, 7]);
        assert!(matches!(read(&bytes), Err(RecordError::NotCanonical { .. } | RecordError::Malformed { .. })));
        let mut longer = record(1, 0, 0, false);
        longer.push(0);
        assert!(matches!(read(&longer), Err(RecordError::Malformed { .. })));
    }

    #[test]
    fn hostile_bytes_cost_neither_stack_nor_memory() {
        let nested = vec![0x81; MAX];
        assert!(matches!(read(&nested), Err(RecordError::Malformed { .. })));
        // A list that claims 2^32 - 1 items, a byte string that claims as many bytes.
        for head in [0x9a, 0x5a] {
            assert!(matches!(read(&[head, 0xff, 0xff, 0xff, 0xff]), Err(RecordError::Malformed { .. })));
        }
        assert!(matches!(read(&vec![0; MAX + 1]), Err(RecordError::TooLong { .. })));
    }

    #[test]
    fn a_record_says_what_it_is() {
        assert_eq!(RecordKind::of(&record(1, 0, 0, false)), Ok(RecordKind::Tombstone));
        assert!(matches!(decode(RecordKind::Manifest, &record(1, 0, 0, false), MAX), Err(RecordError::Kind { .. })));
        assert!(RecordKind::of(b"\xa0").is_err());
    }
}
