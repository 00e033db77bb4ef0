//! The bytes of the journal: slots of 128 bytes, each whole on its own.
//!
//! A slot's number follows from its position, so a lost slot is known by number
//! and a reader finds its feet again at the very next one. Its checksum starts
//! from the volume and the journal it belongs to, so that a stale block of an
//! older file never passes for one of this. A change takes one slot, a meta
//! value as many as it needs; a meta value counts only when all of them are there.

use crate::format::{
    FILE_NUMBER_MAX, FileHeader, HEADER_LEN, PAGE, RECORD_LEN_MAX, SLOT_NUMBER_MAX, array_at, extent_len, u32_at,
    u64_at,
};
use crate::index::Record;
use crate::key::{Key, Namespace, Sequence};

pub(crate) const SLOT_LEN: usize = 128;

/// The longest meta value: a few keys, fences and ids, not a database.
pub const META_LEN_MAX: usize = 1024;

const META_PART_LEN: usize = 96;
/// Kinds from here on may be skipped by releases that do not know them.
const SKIPPABLE_FROM: u8 = 128;

/// One step of the volume's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: a slot that a crash tore, or of a skippable kind.
    Void,
    /// A record is there, in place of any before it under its key.
    Put(Record),
    /// A record lies elsewhere now; void if its sequence is no longer current.
    Move(Record),
    /// A record as it stood when the journal was rewritten.
    Carried(Record),
    Delete(Key),
    /// `u64::MAX` lifts the quota.
    Quota(Namespace, u64),
    Meta(u8, Vec<u8>),
}

/// The part of a slot that is not a whole change by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetaPart {
    key: u8,
    part: u8,
    parts: u8,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Change(Change),
    MetaPart(MetaPart),
}

/// What 128 bytes at the place of slot `number` turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Whole; everything up to and with `durable` had been synced before it was written.
    Whole { durable: u64, body: Body },
    /// Torn, rotten, or never written.
    Broken,
    /// Whole, and of a kind that this release must not skip.
    Newer(u8),
}

/// The journal a slot belongs to, mixed into its checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotSeal(u32);

impl SlotSeal {
    pub(crate) fn of(header: &FileHeader) -> Self {
        let sum = crc32c::crc32c(b"holdfast volume slot v1");
        let sum = crc32c::crc32c_append(sum, &header.identity.volume);
        let sum = crc32c::crc32c_append(sum, &header.identity.incarnation);
        Self(crc32c::crc32c_append(sum, &header.number.to_le_bytes()))
    }

    fn sum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }

    /// 32 bytes that say: everything up to and with slot `durable` was synced.
    pub(crate) fn watermark(self, durable: u64) -> [u8; 32] {
        let mut out = [0; 32];
        out[0..8].copy_from_slice(b"HFSYNCED");
        out[8..16].copy_from_slice(&durable.to_le_bytes());
        let sum = self.sum(&out[..28]);
        out[28..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(crate) fn read_watermark(self, bytes: &[u8; 32]) -> Option<u64> {
        let durable = u64_at(bytes, 8);
        let whole = bytes[0..8] == *b"HFSYNCED" && u32_at(bytes, 28) == self.sum(&bytes[..28]);
        (whole && durable <= SLOT_NUMBER_MAX).then_some(durable)
    }
}

const VOID: u8 = 1;
const PUT: u8 = 2;
const MOVE: u8 = 3;
const CARRIED: u8 = 4;
const DELETE: u8 = 5;
const QUOTA: u8 = 6;
const META: u8 = 7;

/// How many slots a change takes.
pub(crate) fn slots_of(change: &Change) -> u64 {
    match change {
        Change::Meta(_, bytes) => bytes.len().div_ceil(META_PART_LEN).max(1) as u64,
        Change::Void
        | Change::Put(_)
        | Change::Move(_)
        | Change::Carried(_)
        | Change::Delete(_)
        | Change::Quota(..) => 1,
    }
}

/// Appends the slots of `change`, the first of them numbered `number`.
pub(crate) fn encode(change: &Change, number: u64, durable: u64, seal: SlotSeal, out: &mut Vec<u8>) {
    debug_assert!(durable < number);
    let mut push = |slot: [u8; SLOT_LEN], number: u64| out.extend_from_slice(&finish(slot, number, durable, seal));
    match change {
        Change::Void => push(head(VOID), number),
        Change::Put(record) => {
            assert_eq!(record.sequence, Sequence(number), "a put's sequence is its slot");
            push(record_slot(PUT, record), number);
        }
        Change::Move(record) => push(record_slot(MOVE, record), number),
        Change::Carried(record) => push(record_slot(CARRIED, record), number),
        Change::Delete(key) => {
            let mut slot = head(DELETE);
            put_key(&mut slot, key);
            push(slot, number);
        }
        Change::Quota(namespace, limit) => {
            let mut slot = head(QUOTA);
            slot[56..88].copy_from_slice(&namespace.0);
            slot[88..96].copy_from_slice(&limit.to_le_bytes());
            push(slot, number);
        }
        Change::Meta(key, bytes) => {
            assert!(bytes.len() <= META_LEN_MAX, "bounded where it came in");
            let parts = slots_of(change);
            for part in 0..parts {
                let from = part as usize * META_PART_LEN;
                let piece = &bytes[from..bytes.len().min(from + META_PART_LEN)];
                let mut slot = head(META);
                slot[5] = *key;
                slot[6] = part as u8;
                slot[7] = parts as u8;
                slot[24] = piece.len() as u8;
                slot[32..32 + piece.len()].copy_from_slice(piece);
                push(slot, number + part);
            }
        }
    }
}

fn head(kind: u8) -> [u8; SLOT_LEN] {
    let mut slot = [0; SLOT_LEN];
    slot[4] = kind;
    slot
}

fn put_key(slot: &mut [u8; SLOT_LEN], key: &Key) {
    slot[5] = key.kind;
    slot[24..56].copy_from_slice(&key.id);
}

fn record_slot(kind: u8, record: &Record) -> [u8; SLOT_LEN] {
    assert!(record_is_sound(record), "never write what would be refused when read");
    let mut slot = head(kind);
    put_key(&mut slot, &record.key);
    slot[56..88].copy_from_slice(&record.namespace.0);
    slot[88..96].copy_from_slice(&record.len.to_le_bytes());
    slot[96..104].copy_from_slice(&record.offset.to_le_bytes());
    slot[104..112].copy_from_slice(&record.sequence.0.to_le_bytes());
    slot[112..116].copy_from_slice(&record.file.to_le_bytes());
    slot
}

fn finish(mut slot: [u8; SLOT_LEN], number: u64, durable: u64, seal: SlotSeal) -> [u8; SLOT_LEN] {
    slot[8..16].copy_from_slice(&number.to_le_bytes());
    slot[16..24].copy_from_slice(&durable.to_le_bytes());
    let sum = seal.sum(&slot[4..]);
    slot[0..4].copy_from_slice(&sum.to_le_bytes());
    slot
}

/// Bounds every number before anything is computed or allocated from it.
fn record_is_sound(record: &Record) -> bool {
    (1..=FILE_NUMBER_MAX).contains(&record.file)
        && record.sequence > Sequence::START
        && record.len <= RECORD_LEN_MAX
        && record.offset >= HEADER_LEN
        && record.offset.is_multiple_of(PAGE)
        && record.offset.checked_add(extent_len(record.len)).is_some()
}

/// Reads the 128 bytes at the place of slot `number`.
pub(crate) fn decode(slot: &[u8; SLOT_LEN], number: u64, seal: SlotSeal) -> Decoded {
    let durable = u64_at(slot, 16);
    if u32_at(slot, 0) != seal.sum(&slot[4..]) || u64_at(slot, 8) != number || durable >= number {
        return Decoded::Broken;
    }
    let key = Key { kind: slot[5], id: array_at(slot, 24) };
    let record = Record {
        key,
        namespace: Namespace(array_at(slot, 56)),
        len: u64_at(slot, 88),
        offset: u64_at(slot, 96),
        sequence: Sequence(u64_at(slot, 104)),
        file: u32_at(slot, 112),
    };
    let sound = record_is_sound(&record);
    let change = match slot[4] {
        VOID | SKIPPABLE_FROM.. => Change::Void,
        PUT if sound && record.sequence.0 == number => Change::Put(record),
        MOVE if sound && record.sequence.0 < number => Change::Move(record),
        CARRIED if sound && record.sequence.0 < number => Change::Carried(record),
        DELETE => Change::Delete(key),
        QUOTA => Change::Quota(record.namespace, record.len),
        META => {
            let len = usize::from(slot[24]);
            if len > META_PART_LEN || slot[6] >= slot[7] || usize::from(slot[7]) > META_LEN_MAX.div_ceil(META_PART_LEN)
            {
                return Decoded::Broken;
            }
            let bytes = slot[32..32 + len].to_vec();
            let part = MetaPart { key: slot[5], part: slot[6], parts: slot[7], bytes };
            return Decoded::Whole { durable, body: Body::MetaPart(part) };
        }
        PUT | MOVE | CARRIED => return Decoded::Broken,
        other => return Decoded::Newer(other),
    };
    Decoded::Whole { durable, body: Body::Change(change) }
}

/// Puts meta values together from consecutive slots.
#[derive(Default)]
pub(crate) struct MetaAssembly(Option<MetaPart>);

impl MetaAssembly {
    /// Anything else between two parts ends the value they belonged to.
    pub(crate) fn interrupt(&mut self) {
        self.0 = None;
    }

    /// The whole value, when `part` was its last.
    pub(crate) fn absorb(&mut self, part: MetaPart) -> Option<Change> {
        let whole = match self.0.take() {
            None if part.part == 0 => part,
            Some(mut so_far)
                if so_far.key == part.key && so_far.parts == part.parts && part.part == so_far.part + 1 =>
            {
                so_far.bytes.extend_from_slice(&part.bytes);
                so_far.part = part.part;
                so_far
            }
            // A first part that follows a value cut short starts its own.
            _ if part.part == 0 => part,
            _ => return None,
        };
        if whole.part + 1 == whole.parts {
            return (whole.bytes.len() <= META_LEN_MAX).then_some(Change::Meta(whole.key, whole.bytes));
        }
        self.0 = Some(whole);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Identity, Role};

    fn seal(number: u32) -> SlotSeal {
        let identity = Identity { volume: [1; 16], incarnation: [2; 16] };
        SlotSeal::of(&FileHeader { role: Role::Journal, number, identity, first: 1, carried: 0 })
    }

    fn record(sequence: u64) -> Record {
        Record {
            key: Key { kind: 9, id: [4; 32] },
            namespace: Namespace([5; 32]),
            len: 1_000_000,
            file: 3,
            offset: 5 * PAGE,
            sequence: Sequence(sequence),
        }
    }

    fn round(change: &Change, number: u64) -> Option<Change> {
        let mut bytes = Vec::new();
        encode(change, number, number - 1, seal(1), &mut bytes);
        assert_eq!(bytes.len() as u64, slots_of(change) * SLOT_LEN as u64);
        let mut assembly = MetaAssembly::default();
        let mut out = None;
        for (i, slot) in bytes.chunks_exact(SLOT_LEN).enumerate() {
            match decode(slot.try_into().unwrap(), number + i as u64, seal(1)) {
                Decoded::Whole { durable, body } => {
                    assert_eq!(durable, number - 1);
                    out = match body {
                        Body::Change(change) => Some(change),
                        Body::MetaPart(part) => assembly.absorb(part),
                    };
                }
                other => panic!("{other:?}"),
            }
        }
        out
    }

    #[test]
    fn every_change_comes_back() {
        let mut changes = vec![
            Change::Void,
            Change::Put(record(40)),
            Change::Move(record(7)),
            Change::Carried(record(39)),
            Change::Delete(Key { kind: 0, id: [8; 32] }),
            Change::Quota(Namespace([1; 32]), u64::MAX),
        ];
        for len in [0, 1, 95, 96, 97, 192, META_LEN_MAX] {
            changes.push(Change::Meta(3, (0..len).map(|i| i as u8).collect()));
        }
        for change in changes {
            assert_eq!(round(&change, 40), Some(change));
        }
    }

    #[test]
    fn no_flipped_bit_wrong_place_or_foreign_journal_passes() {
        let mut bytes = Vec::new();
        encode(&Change::Put(record(40)), 40, 39, seal(1), &mut bytes);
        let slot: [u8; SLOT_LEN] = bytes.try_into().unwrap();
        for bit in 0..SLOT_LEN * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped, 40, seal(1)), Decoded::Broken);
        }
        assert_eq!(decode(&slot, 41, seal(1)), Decoded::Broken);
        assert_eq!(decode(&slot, 40, seal(2)), Decoded::Broken);
        assert_eq!(decode(&[0; SLOT_LEN], 40, seal(1)), Decoded::Broken);
    }

    #[test]
    fn a_meta_value_with_a_part_missing_is_no_value() {
        let mut bytes = Vec::new();
        encode(&Change::Meta(3, vec![7; 300]), 10, 9, seal(1), &mut bytes);
        let parts: Vec<MetaPart> = bytes
            .chunks_exact(SLOT_LEN)
            .zip(10..)
            .map(|(slot, number)| match decode(slot.try_into().unwrap(), number, seal(1)) {
                Decoded::Whole { body: Body::MetaPart(part), .. } => part,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(parts.len(), 4);
        for missing in 0..4 {
            for broken_slot in [false, true] {
                let mut assembly = MetaAssembly::default();
                for (i, part) in parts.iter().enumerate() {
                    if i != missing {
                        assert_eq!(assembly.absorb(part.clone()), None);
                    } else if broken_slot {
                        assembly.interrupt();
                    }
                }
            }
        }
    }

    #[test]
    fn unknown_kinds_are_refused_unless_marked_skippable() {
        let seal = seal(1);
        assert_eq!(decode(&finish(head(90), 5, 0, seal), 5, seal), Decoded::Newer(90));
        let skipped = Decoded::Whole { durable: 0, body: Body::Change(Change::Void) };
        assert_eq!(decode(&finish(head(200), 5, 0, seal), 5, seal), skipped);
    }
}
