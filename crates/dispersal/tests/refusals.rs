//! What was changed is refused, and by its name: frames, manifests, pages, envelopes, descriptors,
//! tombstones.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::collections::BTreeMap;

use cluster::{Cluster, draw, noise};
use holdfast_dispersal::*;
use holdfast_types::{
    Code, FRAME_LEN, ObjectId, SIGNATURES_MAX, SecretKey, Seed, SegmentId, SegmentRoot, ShardId, Signature,
    SignatureError, Transcript, Wall,
};
use ipld_core::ipld::Ipld;

fn sealed(len: usize) -> (ObjectKey, Manifest, Vec<Vec<u8>>) {
    let key = ObjectKey::from_bytes(draw(1));
    let mut sealer = Sealer::new(key.clone(), RunSalt(draw(2))).unwrap();
    let mut frames: Vec<Vec<u8>> = sealer.push(&noise(len, 1)).unwrap().into_iter().map(|frame| frame.bytes).collect();
    let object = sealer.finish(Description::default()).unwrap();
    frames.push(object.frame.bytes);
    (key, object.manifest, frames)
}

fn open(key: &ObjectKey, manifest: &Manifest, stream: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut opener = Opener::new(key, manifest, None)?;
    let plain = opener.push(stream)?.concat();
    opener.finish().map(|()| plain)
}

#[test]
fn swapped_cut_and_extended_streams_are_refused() {
    let (key, manifest, frames) = sealed(3 * FRAME_LEN as usize);
    assert!(open(&key, &manifest, &frames.concat()).is_ok());
    let swapped = [&frames[1][..], &frames[0], &frames[2]].concat();
    let error = open(&key, &manifest, &swapped).unwrap_err();
    assert!(matches!(error, OpenError::Frame { frame, .. } if frame.0 == 0), "{error}");
    let repeated = [&frames[0][..], &frames[0], &frames[2]].concat();
    assert!(matches!(open(&key, &manifest, &repeated), Err(OpenError::Frame { frame, .. }) if frame.0 == 1));
    let cut = frames[..2].concat();
    let missing = frames[2].len() as u64;
    let error = open(&key, &manifest, &cut).unwrap_err();
    assert!(matches!(error, OpenError::Truncated { frame, missing: m } if frame.0 == 2 && m == missing), "{error}");
    let longer = [frames.concat(), vec![0]].concat();
    assert!(matches!(open(&key, &manifest, &longer), Err(OpenError::TooMuch(_))));
}

#[test]
fn a_changed_frame_is_named_and_the_frames_before_it_are_given() {
    let (key, manifest, frames) = sealed(3 * FRAME_LEN as usize);
    let mut stream = frames.concat();
    stream[FRAME_LEN as usize + 16 + 1000] ^= 1;
    let mut opener = Opener::new(&key, &manifest, None).unwrap();
    let first = opener.push(&stream[..frames[0].len()]).unwrap();
    assert!(first.concat() == noise(3 * FRAME_LEN as usize, 1)[..FRAME_LEN as usize]);
    let error = opener.push(&stream[frames[0].len()..]).unwrap_err();
    assert!(error.to_string().contains("frame 1"), "{error}");
}

#[test]
fn a_frame_that_failed_is_read_again_and_the_whole_still_verifies() {
    let (key, manifest, frames) = sealed(2 * FRAME_LEN as usize + 9);
    let mut opener = Opener::new(&key, &manifest, None).unwrap();
    let mut plain = opener.push(&frames[0]).unwrap().concat();
    let mut bad = frames[1].clone();
    bad[5] ^= 1;
    assert_eq!(opener.push(&bad[..100]).unwrap().len(), 0);
    assert_eq!(opener.position().unwrap(), frames[0].len() as u64 + 100);
    assert!(opener.push(&bad[100..]).is_err());
    assert_eq!(opener.position().unwrap(), frames[0].len() as u64);
    plain.extend(opener.push(&frames[1]).unwrap().concat());
    plain.extend(opener.push(&frames[2]).unwrap().concat());
    assert_eq!(opener.position().unwrap(), manifest.sealed_len());
    opener.finish().unwrap();
    assert!(plain == noise(2 * FRAME_LEN as usize + 9, 1));
}

/// A sink that cannot take a frame: a full disk, say.
#[test]
fn a_sink_that_fails_ends_the_call_behind_the_frame_that_it_was_given() {
    let (key, manifest, frames) = sealed(3 * FRAME_LEN as usize);
    let stream = frames.concat();
    // Frames that come whole, and frames that come in pieces.
    for first in [frames[0].len(), frames[0].len() + 7] {
        let mut opener = Opener::new(&key, &manifest, None).unwrap();
        opener.push(&stream[..first]).unwrap();
        let mut given = Vec::new();
        let full = opener.push_with(&stream[first..], |plain| {
            given.extend_from_slice(plain);
            Err(None::<OpenError>)
        });
        assert!(matches!(full, Err(None)), "{full:?}");
        assert_eq!(given.len(), FRAME_LEN as usize, "one frame");
        let behind = opener.position().unwrap() as usize;
        assert_eq!(behind, frames[0].len() + frames[1].len());
        // Whoever has room again goes on from there, and misses nothing.
        given.extend(opener.push(&stream[behind..]).unwrap().concat());
        opener.finish().unwrap();
        assert!(given == noise(3 * FRAME_LEN as usize, 1)[FRAME_LEN as usize..]);
    }
}

#[test]
fn another_key_is_refused_before_anything_is_opened() {
    let (_, manifest, _) = sealed(10);
    let stranger = ObjectKey::from_bytes(draw(9));
    assert!(matches!(Opener::new(&stranger, &manifest, None), Err(OpenError::Key)));
}

#[test]
fn a_range_past_the_end_is_refused() {
    let (key, manifest, _) = sealed(10);
    let range = holdfast_types::ByteRange::new(5, 11);
    assert!(matches!(Opener::new(&key, &manifest, range), Err(OpenError::Range { len: 10, .. })));
}

#[test]
fn no_bit_of_a_manifest_can_change() {
    let (key, manifest, frames) = sealed(1000);
    let stream = frames.concat();
    for at in 0..manifest.bytes().len() * 8 {
        let mut bad = manifest.bytes().to_vec();
        bad[at / 8] ^= 1 << (at % 8);
        let error = Manifest::decode_as(&manifest.object_id(), &bad).unwrap_err();
        assert!(error.to_string().contains("manifest"), "{error}");
        // Even where nobody looked at its name.
        let opened = Manifest::decode(&bad).ok().and_then(|bad| open(&key, &bad, &stream).ok());
        assert!(opened.is_none(), "bit {at}");
    }
}

/// A record with one field changed, in canonical DAG-CBOR.
fn edited(record: &[u8], edit: impl FnOnce(&mut BTreeMap<String, Ipld>)) -> Vec<u8> {
    let Ipld::Map(mut map) = serde_ipld_dagcbor::from_slice(record).unwrap() else { panic!("records are maps") };
    edit(&mut map);
    serde_ipld_dagcbor::to_vec(&Ipld::Map(map)).unwrap()
}

#[test]
fn an_unknown_suite_or_version_says_to_upgrade() {
    let (_, manifest, _) = sealed(10);
    let suite = edited(manifest.bytes(), |map| drop(map.insert("suite".to_owned(), Ipld::Integer(2))));
    let version = Ipld::List([2, 0, 0].map(Ipld::Integer).to_vec());
    let version = edited(manifest.bytes(), |map| drop(map.insert("format".to_owned(), version)));
    let bits = Ipld::List([1, 0, 1].map(Ipld::Integer).to_vec());
    let bits = edited(manifest.bytes(), |map| drop(map.insert("format".to_owned(), bits)));
    for (record, word) in [(suite, "suite 2"), (version, "version 2"), (bits, "0x1")] {
        let error = Manifest::decode(&record).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("upgrade"), "{error}");
    }
}

fn envelope(owner: &OwnerKey) -> Envelope {
    let object = ObjectId::from_bytes(draw(5));
    Envelope {
        version: 1,
        object,
        owner: owner.owner_id(),
        key: owner.wrap_object_key(&object, &ObjectKey::from_bytes(draw(6))),
        policy: "p".to_owned(),
        code: Code::new(8, 4).unwrap(),
        retain_until: None,
        created: Wall(1),
        names: vec!["a".to_owned()],
    }
}

fn descriptor(code: Code, extents: Extents, len: u64) -> SegmentDescriptor {
    let owner = OwnerKey::from_bytes(draw(1));
    let binding = SegmentBinding { owner: owner.owner_id(), root: SegmentRoot::from_bytes(draw(2)), code };
    let secret = PlacementSecret::from_bytes(draw(3));
    SegmentDescriptor {
        version: 1,
        segment: SegmentId([1; 16]),
        root: binding.root,
        geometry: Geometry::new(code, len).unwrap(),
        shards: (0..code.total()).map(|n| ShardId::from_bytes(draw(100 + u64::from(n)))).collect(),
        extents,
        owner: owner.owner_id(),
        secrets: WrappedSecrets {
            owner: owner.wrap_placement(&binding, &secret),
            recovery: RecoveryKey::from_bytes(draw(4)).public().wrap(&binding, &secret, Seed(draw(5))).unwrap(),
        },
    }
}

#[test]
fn no_bit_of_a_signed_record_can_change() {
    let (owner, auditor) = (OwnerKey::from_bytes(draw(1)), SecretKey::from_seed(&draw(7)));
    let tombstone =
        Tombstone { version: 2, object: ObjectId::from_bytes(draw(5)), owner: owner.owner_id(), deleted: Wall(3) };
    let segment = descriptor(Code::new(2, 1).unwrap(), Extents::Inline(Vec::new()), 1000);
    let records = [
        ("envelope", Signed::sign(envelope(&owner), &owner.signing()).unwrap().bytes().to_vec()),
        ("tombstone", Signed::sign(tombstone, &owner.signing()).unwrap().bytes().to_vec()),
        ("segment", Signed::sign(segment, &auditor).unwrap().bytes().to_vec()),
    ];
    for (name, record) in records {
        let refusal = |bytes: &[u8]| match name {
            "envelope" => Envelope::decode(bytes).err(),
            "tombstone" => Tombstone::decode(bytes).err(),
            _ => SegmentDescriptor::decode(bytes, &auditor.public()).err(),
        };
        assert_eq!(refusal(&record), None);
        for at in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let error = refusal(&bad).unwrap_or_else(|| panic!("{name}: bit {at} changed unseen"));
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn who_may_sign_is_said_by_the_body_or_the_reader() {
    let (owner, stranger) = (OwnerKey::from_bytes(draw(1)), OwnerKey::from_bytes(draw(2)));
    assert!(matches!(Signed::sign(envelope(&owner), &stranger.signing()), Err(RecordError::Signer { .. })));
    let (auditor, other) = (SecretKey::from_seed(&draw(7)), SecretKey::from_seed(&draw(8)));
    let segment = descriptor(Code::new(2, 1).unwrap(), Extents::Inline(Vec::new()), 1000);
    let record = Signed::sign(segment, &auditor).unwrap();
    let error = SegmentDescriptor::decode(record.bytes(), &other.public()).unwrap_err();
    assert_eq!(error, RecordError::Signer { kind: "segment" });
}

/// Signs a record as `docs/formats/records.md` says, without the crate.
fn sign_by_hand(
    record: &[u8],
    domain: &'static str,
    key: &SecretKey,
    edit: impl FnOnce(&mut BTreeMap<String, Ipld>),
) -> Vec<u8> {
    edited(record, |map| {
        let Some(Ipld::Map(body)) = map.get_mut("body") else { panic!("signed records have a body") };
        edit(body);
        map.insert("signer".to_owned(), Ipld::Bytes(key.public().0.to_vec()));
        map.remove("signatures");
        let signed = serde_ipld_dagcbor::to_vec(&Ipld::Map(map.clone())).unwrap();
        let signature = key.sign(&Transcript::new(domain).absorb("record", &signed)).to_bytes().to_vec();
        map.insert("signatures".to_owned(), Ipld::List(vec![Ipld::Bytes(signature)]));
    })
}

const SEGMENT_DOMAIN: &str = "holdfast 2026 segment descriptor v1";
const ENVELOPE_DOMAIN: &str = "holdfast 2026 envelope v1";

#[test]
fn a_signed_lie_is_still_refused() {
    let auditor = SecretKey::from_seed(&draw(7));
    let extents = Extents::Inline(vec![
        Extent { object: ObjectId::from_bytes(draw(1)), segment_offset: 0, len: 600, stream_offset: 0 },
        Extent { object: ObjectId::from_bytes(draw(2)), segment_offset: 600, len: 400, stream_offset: 7 },
    ]);
    let record = Signed::sign(descriptor(Code::new(2, 1).unwrap(), extents, 1000), &auditor).unwrap();
    let lie = |field: &str, value: Ipld| {
        let edit = |body: &mut BTreeMap<String, Ipld>| drop(body.insert(field.to_owned(), value));
        let bytes = sign_by_hand(record.bytes(), SEGMENT_DOMAIN, &auditor, edit);
        SegmentDescriptor::decode(&bytes, &auditor.public()).map(|_| ())
    };
    assert_eq!(lie("version", Ipld::Integer(9)), Ok(()));
    let wrong = |field| Err(RecordError::Field { kind: "segment", field, expected: "" });
    let named = |outcome: Result<(), RecordError>| match outcome {
        Err(RecordError::Field { kind, field, .. }) => Err(RecordError::Field { kind, field, expected: "" }),
        other => other,
    };
    let numbers = |list: &[i128]| Ipld::List(list.iter().copied().map(Ipld::Integer).collect());
    assert_eq!(named(lie("shardLen", Ipld::Integer(2048))), wrong("shardLen"));
    assert_eq!(named(lie("len", Ipld::Integer(0))), wrong("len"));
    assert_eq!(named(lie("len", Ipld::Integer(999))), wrong("extents"));
    assert_eq!(named(lie("code", numbers(&[0, 3]))), wrong("code"));
    assert_eq!(named(lie("code", numbers(&[250, 7]))), wrong("code"));
    assert_eq!(named(lie("code", numbers(&[65538, 1]))), wrong("code"));
    assert_eq!(named(lie("shards", Ipld::Bytes(vec![0; 95]))), wrong("shards"));
    assert_eq!(named(lie("shards", Ipld::Bytes(vec![0; 64]))), wrong("shards"));
    assert_eq!(named(lie("root", Ipld::Bytes(vec![0; 31]))), wrong("root"));
    assert_eq!(named(lie("version", Ipld::Integer(-1))), wrong("version"));
    assert_eq!(named(lie("owner", Ipld::Null)), wrong("owner"));
    assert!(matches!(lie("novelty", Ipld::Null), Err(RecordError::UnknownField { .. })));
}

#[test]
fn one_known_signature_is_needed_and_every_known_one_must_hold() {
    let owner = OwnerKey::from_bytes(draw(1));
    let record = Signed::sign(envelope(&owner), &owner.signing()).unwrap();
    let by_hand = sign_by_hand(record.bytes(), ENVELOPE_DOMAIN, &owner.signing(), |_| ());
    assert_eq!(by_hand, record.bytes());
    let with = |signatures: Vec<Vec<u8>>| {
        let list = Ipld::List(signatures.into_iter().map(Ipld::Bytes).collect());
        let bytes = edited(record.bytes(), |map| drop(map.insert("signatures".to_owned(), list)));
        Envelope::decode(&bytes).map(|_| ())
    };
    let transcript = Transcript::new("another domain").absorb("record", b"");
    let (bad, mut unknown) = (owner.signing().sign(&transcript).to_bytes().to_vec(), vec![0; Signature::LEN]);
    unknown[0] = 9;
    let Ipld::Map(map) = serde_ipld_dagcbor::from_slice(record.bytes()).unwrap() else { panic!("a map") };
    let Some(Ipld::List(list)) = map.get("signatures") else { panic!("a list") };
    let Ipld::Bytes(good) = list[0].clone() else { panic!("bytes") };
    assert_eq!(with(vec![good.clone()]), Ok(()));
    assert_eq!(with(vec![unknown.clone(), good.clone()]), Ok(()), "a newer algorithm beside the known one");
    let refused = |error| Err(RecordError::Signature { kind: "envelope", error });
    assert_eq!(with(vec![unknown.clone()]), refused(SignatureError::Algorithm(9)));
    assert_eq!(with(vec![good.clone(), bad]), refused(SignatureError::Mismatch));
    assert!(matches!(with(Vec::new()), Err(RecordError::Field { field: "signatures", .. })));
    assert!(matches!(with(vec![good; SIGNATURES_MAX + 1]), Err(RecordError::Field { field: "signatures", .. })));
}

#[test]
fn the_largest_descriptor_page_and_envelope_are_one_record_each() {
    let auditor = SecretKey::from_seed(&draw(7));
    let code = Code::new(200, 56).unwrap();
    let len = holdfast_types::SEGMENT_LEN_MAX;
    let far = |n: u64| Extent {
        object: ObjectId::from_bytes(draw(n)),
        segment_offset: len - 70_000 * 900 + n * 900,
        len: 900,
        stream_offset: u64::MAX - 1000 - n,
    };
    let inline = Extents::Inline((0..EXTENTS_INLINE_MAX as u64).map(far).collect());
    let record = Signed::sign(descriptor(code, inline, len), &auditor).unwrap();
    assert!(SegmentDescriptor::decode(record.bytes(), &auditor.public()).is_ok());

    let all: Vec<Extent> = (0..SEGMENT_EXTENTS_MAX as u64).map(far).collect();
    let (extents, pages) = extent_pages(all.clone()).unwrap();
    let Extents::Paged(refs) = &extents else { panic!("too many to be inline") };
    let read: Vec<Extent> =
        refs.iter().zip(&pages).flat_map(|(page, record)| page.decode(&record.bytes).unwrap()).collect();
    assert_eq!(read, all);
    assert!(refs[0].decode(&pages[1].bytes).is_err());
    assert!(Signed::sign(descriptor(code, extents, len), &auditor).is_ok());

    let owner = OwnerKey::from_bytes(draw(1));
    let names = vec!["n".repeat(NAME_LEN_MAX); NAMES_MAX];
    let largest = Envelope { names, policy: "p".repeat(NAME_LEN_MAX), ..envelope(&owner) };
    assert!(Signed::sign(largest.clone(), &owner.signing()).is_ok());
    let more = Envelope { names: vec![String::new(); NAMES_MAX + 1], ..largest };
    assert!(Signed::sign(more, &owner.signing()).is_err());
}

#[test]
fn extents_that_overlap_or_run_backwards_are_refused() {
    let extent =
        |segment_offset, len| Extent { object: ObjectId::from_bytes(draw(1)), segment_offset, len, stream_offset: 0 };
    assert!(extent_pages(vec![extent(0, 10), extent(10, 10)]).is_ok());
    for broken in [[extent(0, 10), extent(9, 10)], [extent(10, 10), extent(0, 10)], [extent(0, 10), extent(20, 0)]] {
        assert!(extent_pages(broken.to_vec()).is_err(), "{broken:?}");
    }
    assert!(extent_pages(vec![extent(u64::MAX, 2)]).is_err());
}

#[test]
fn a_checkpoint_that_was_changed_is_refused_or_harmless() {
    // It has no key and no signature, and lies in the client's own files: whatever it says, resuming
    // never seals under an old salt, and never panics.
    let key = ObjectKey::from_bytes(draw(1));
    let mut sealer = Sealer::new(key.clone(), RunSalt(draw(2))).unwrap();
    sealer.push(&noise(FRAME_LEN as usize + 1, 1)).unwrap();
    let written = sealer.checkpoint().to_bytes().unwrap();
    for at in 0..written.len().min(600) {
        let mut bad = written.clone();
        bad[at] ^= 1;
        let Ok(checkpoint) = Checkpoint::from_bytes(&bad) else { continue };
        if let Ok(mut sealer) = Sealer::resume(key.clone(), checkpoint, RunSalt(draw(3))) {
            sealer.push(b"more").unwrap();
            sealer.finish(Description::default()).unwrap();
        }
    }
}

#[test]
fn the_harness_itself_notices_a_changed_object() {
    let mut cluster = Cluster::default();
    let plain = noise(5000, 1);
    let object = cluster.put(&[&plain], Code::new(2, 1).unwrap(), FRAME_SEALED_LEN_MAX).remove(0);
    let segment = cluster.segments.values_mut().next().unwrap();
    segment.names.swap(0, 1);
    assert_eq!(cluster.get(&object, None).unwrap_err(), SegmentError::TooFewShards { found: 1, needed: 2 });
}
