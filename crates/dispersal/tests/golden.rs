//! The formats, byte for byte. Every golden file, of this and every earlier release, must be read by
//! all later ones; and this release writes exactly these bytes. `HOLDFAST_WRITE_GOLDEN=1` writes
//! them anew: only for a new format, into a new directory.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use holdfast_dispersal::*;
use holdfast_types::{
    ByteRange, Code, FRAME_LEN, ObjectId, OwnerId, SecretKey, Seed, SegmentId, ShardId, ShardIndex, Wall,
};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(name)
}

fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("golden file {name}: {error}"))
}

fn object_key() -> ObjectKey {
    ObjectKey::from_bytes([0x11; 32])
}

fn placement() -> PlacementSecret {
    PlacementSecret::from_bytes([0x33; 32])
}

fn owner() -> OwnerKey {
    OwnerKey::from_bytes([0x44; 32])
}

fn recovery() -> RecoveryKey {
    RecoveryKey::from_bytes([0x55; 32])
}

fn auditor() -> SecretKey {
    SecretKey::from_seed(&[0x66; 32])
}

fn code() -> Code {
    Code::new(2, 1).unwrap()
}

/// Three frames: zeros, text, and 3000 bytes that do not shrink.
fn plain() -> Vec<u8> {
    let mut out = vec![0; FRAME_LEN as usize];
    out.extend(b"holdfast ".iter().cycle().take(FRAME_LEN as usize));
    let mut noise = [0; 3000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    out.extend(noise);
    out
}

struct Written {
    files: Vec<(&'static str, Vec<u8>)>,
    manifest: Manifest,
}

/// An object put in two attempts.
fn write_object() -> Written {
    let plain = plain();
    let mut sealer = Sealer::new(object_key(), RunSalt([0x21; 32])).unwrap();
    let mut stream = sealer.push(&plain[..FRAME_LEN as usize + 1]).unwrap().remove(0).bytes;
    let checkpoint = sealer.checkpoint().to_bytes().unwrap();
    let at = Checkpoint::from_bytes(&checkpoint).unwrap();
    let mut sealer = Sealer::resume(object_key(), at, RunSalt([0x22; 32])).unwrap();
    stream.extend(sealer.push(&plain[FRAME_LEN as usize..]).unwrap().remove(0).bytes);
    let description = Description { name: Some("golden".to_owned()), media_type: Some("text/plain".to_owned()) };
    let object = sealer.finish(description).unwrap();
    stream.extend(&object.frame.bytes);
    let files = vec![
        ("checkpoint.cbor", checkpoint),
        ("sealed-stream.bin", stream),
        ("manifest.cbor", object.manifest.bytes().to_vec()),
    ];
    Written { files, manifest: object.manifest }
}

fn envelope(object: ObjectId) -> Envelope {
    Envelope {
        version: 2,
        object,
        owner: owner().owner_id(),
        key: owner().wrap_object_key(&object, &object_key()),
        policy: "demo".to_owned(),
        code: code(),
        retain_until: Some(Wall(1_900_000_000_000)),
        created: Wall(1_800_000_000_000),
        names: vec!["dir/golden.txt".to_owned(), "zweiter Name ☂".to_owned()],
    }
}

fn descriptor(encoded: &EncodedSegment, extents: Extents) -> SegmentDescriptor {
    let binding = SegmentBinding { owner: owner().owner_id(), root: encoded.root, code: code() };
    SegmentDescriptor {
        version: 1,
        segment: SegmentId([0x77; 16]),
        root: encoded.root,
        geometry: encoded.geometry,
        shards: encoded.shard_ids(),
        extents,
        owner: owner().owner_id(),
        secrets: WrappedSecrets {
            owner: owner().wrap_placement(&binding, &placement()),
            recovery: recovery().public().wrap(&binding, &placement(), Seed([0x88; 32])).unwrap(),
        },
    }
}

fn extent(object: ObjectId, segment_offset: u64, len: u64) -> Extent {
    Extent { object, segment_offset, len, stream_offset: 0 }
}

fn write_segments(stream: &[u8], object: ObjectId) -> Vec<(&'static str, Vec<u8>)> {
    let encoded = Encoder::new(code()).encode(stream.to_vec(), &placement()).unwrap();
    let len = stream.len() as u64;
    let (extents, pages) = extent_pages(vec![extent(object, 0, len)]).unwrap();
    assert!(pages.is_empty());
    let segment = Signed::sign(descriptor(&encoded, extents), &auditor()).unwrap();
    let many = (0..EXTENTS_INLINE_MAX as u64 + 1).map(|n| extent(ObjectId::from_bytes([n as u8; 32]), n, 1)).collect();
    let (extents, pages) = extent_pages(many).unwrap();
    let crowded = Encoder::new(code()).encode(vec![9; EXTENTS_INLINE_MAX + 1], &placement()).unwrap();
    let crowded = Signed::sign(descriptor(&crowded, extents), &auditor()).unwrap();
    vec![
        ("shard-0.bin", encoded.shards[0].bytes.to_vec()),
        ("shard-1.bin", encoded.shards[1].bytes.to_vec()),
        ("shard-2.bin", encoded.shards[2].bytes.to_vec()),
        ("segment.cbor", segment.bytes().to_vec()),
        ("segment-paged.cbor", crowded.bytes().to_vec()),
        ("extent-page.cbor", pages[0].bytes.clone()),
    ]
}

/// 4 GiB of zeros and one byte: the smallest object whose frame table is paged.
fn write_paged() -> Vec<(&'static str, Vec<u8>)> {
    let mut sealer = Sealer::new(object_key(), RunSalt([0x23; 32])).unwrap();
    let zeros = vec![0; FRAME_LEN as usize];
    for _ in 0..FRAMES_INLINE_MAX {
        sealer.push(&zeros).unwrap();
    }
    sealer.push(&[1]).unwrap();
    let object = sealer.finish(Description::default()).unwrap();
    vec![
        ("manifest-paged.cbor", object.manifest.bytes().to_vec()),
        ("frame-page.cbor", object.pages[0].bytes.clone()),
        ("last-frame-paged.bin", object.frame.bytes),
    ]
}

fn write_all() -> Vec<(&'static str, Vec<u8>)> {
    let Written { mut files, manifest } = write_object();
    let object = manifest.object_id();
    let stream = files[1].1.clone();
    files.extend(write_segments(&stream, object));
    let owner = owner();
    let tombstone = Tombstone { version: 3, object, owner: owner.owner_id(), deleted: Wall(1_850_000_000_000) };
    files.push(("envelope.cbor", Signed::sign(envelope(object), &owner.signing()).unwrap().bytes().to_vec()));
    files.push(("tombstone.cbor", Signed::sign(tombstone, &owner.signing()).unwrap().bytes().to_vec()));
    files.extend(write_paged());
    files
}

#[test]
fn this_release_writes_the_golden_bytes() {
    for (name, bytes) in write_all() {
        if std::env::var_os("HOLDFAST_WRITE_GOLDEN").is_some() {
            fs::create_dir_all(path("").as_path()).unwrap();
            fs::write(path(name), &bytes).unwrap();
        }
        assert!(read(name) == bytes, "{name} is written in other bytes than before");
    }
}

#[test]
fn a_golden_object_reads_from_two_of_its_shards_and_the_owner_s_key() {
    let manifest = Manifest::decode(&read("manifest.cbor")).unwrap();
    let envelope = Envelope::decode(&read("envelope.cbor")).unwrap();
    assert_eq!(envelope.body(), &self::envelope(manifest.object_id()));
    let key = owner().unwrap_object_key(&envelope.body().object, &envelope.body().key).unwrap();

    let segment = SegmentDescriptor::decode(&read("segment.cbor"), &auditor().public()).unwrap().into_body();
    let secret = owner().unwrap_placement(&segment.binding(), &segment.secrets.owner).unwrap();
    let healed = recovery().unwrap(&segment.binding(), &segment.secrets.recovery).unwrap();
    assert_eq!(secret.as_bytes(), healed.as_bytes());
    let shards = ["shard-0.bin", "shard-1.bin", "shard-2.bin"].map(read);
    for (name, bytes) in segment.shards.iter().zip(&shards) {
        assert_eq!(*name, ShardId(holdfast_types::Root::of(bytes)));
    }
    let Extents::Inline(extents) = &segment.extents else { panic!("one extent is inline") };
    let extents = extents.iter().map(|extent| (segment.segment, *extent));
    let map = ExtentMap::new(&manifest.object_id(), manifest.sealed_len(), extents).unwrap();
    assert_eq!(map.parts().len(), 1);

    let whole = ByteRange::first(segment.geometry.segment_len());
    let plan = ReadPlan::new(segment.geometry, whole, &[ShardIndex(1), ShardIndex(2)]).unwrap();
    let mut pieces = SegmentRead::new(plan, Masks::new(secret, segment.root, segment.geometry.code()));
    for fetch in pieces.wanted() {
        let range = fetch.range.start() as usize..fetch.range.end() as usize;
        pieces.absorb(fetch.shard, fetch.range.start(), &shards[usize::from(fetch.shard.0)][range]).unwrap();
    }
    let stream = pieces.to_vec().unwrap();
    assert!(stream == read("sealed-stream.bin"));
    let mut opener = Opener::new(&key, &manifest, None).unwrap();
    assert_eq!(opener.index().name.as_deref(), Some("golden"));
    assert_eq!(opener.index().media_type.as_deref(), Some("text/plain"));
    assert!(opener.push(&stream).unwrap().concat() == plain());
    opener.finish().unwrap();
}

#[test]
fn a_golden_tombstone_and_its_envelope_name_one_object() {
    let tombstone = Tombstone::decode(&read("tombstone.cbor")).unwrap().into_body();
    let envelope = Envelope::decode(&read("envelope.cbor")).unwrap().into_body();
    assert_eq!((tombstone.object, tombstone.owner), (envelope.object, envelope.owner));
    assert!(tombstone.version > envelope.version);
}

#[test]
fn golden_pages_read() {
    let segment = SegmentDescriptor::decode(&read("segment-paged.cbor"), &auditor().public()).unwrap().into_body();
    let Extents::Paged(pages) = &segment.extents else { panic!("513 extents are paged") };
    let extents = pages[0].decode(&read("extent-page.cbor")).unwrap();
    assert_eq!(extents.len(), EXTENTS_INLINE_MAX + 1);
    assert_eq!(extents[300], extent(ObjectId::from_bytes([300u64 as u8; 32]), 300, 1));

    let manifest = Manifest::decode(&read("manifest-paged.cbor")).unwrap();
    let last_byte = ByteRange::at(FRAMES_INLINE_MAX * FRAME_LEN, 1);
    let mut opener = Opener::new(&object_key(), &manifest, last_byte).unwrap();
    assert_eq!(opener.sealed_range(), Err(OpenError::PageFirst(0)));
    assert_eq!(opener.pages_wanted().len(), 1);
    assert!(matches!(opener.absorb_page(0, b"another"), Err(OpenError::Page { .. })));
    opener.absorb_page(0, &read("frame-page.cbor")).unwrap();
    assert!(opener.pages_wanted().is_empty());
    assert_eq!(opener.sealed_range().unwrap().end(), manifest.sealed_len());
    assert_eq!(opener.push(&read("last-frame-paged.bin")).unwrap(), [[1]]);
    opener.finish().unwrap();
}

#[test]
fn a_golden_checkpoint_goes_on() {
    let at = Checkpoint::from_bytes(&read("checkpoint.cbor")).unwrap();
    assert_eq!(at.plain_offset(), FRAME_LEN);
    let mut sealer = Sealer::resume(object_key(), at, RunSalt([0x99; 32])).unwrap();
    let frame = sealer.push(&plain()[FRAME_LEN as usize..]).unwrap().remove(0);
    let object = sealer.finish(Description::default()).unwrap();
    let first = read("sealed-stream.bin")[..frame.stream_offset as usize].to_vec();
    let stream = [first, frame.bytes, object.frame.bytes].concat();
    let mut opener = Opener::new(&object_key(), &object.manifest, None).unwrap();
    assert!(opener.push(&stream).unwrap().concat() == plain());
    opener.finish().unwrap();
}

#[test]
fn golden_ids_are_what_any_cid_tool_prints() {
    // `b3sum` of the file, wrapped as CIDv1: 01, codec, 1e, 20, the hash; base32 with a leading b.
    let manifest = Manifest::decode(&read("manifest.cbor")).unwrap();
    let root = *blake3::hash(&read("manifest.cbor")).as_bytes();
    assert_eq!(manifest.object_id(), ObjectId::from_bytes(root));
    assert!(manifest.object_id().to_string().starts_with("bafyr4i"));
    assert_eq!(owner().owner_id(), owner().owner_id().to_string().parse::<OwnerId>().unwrap());
}
