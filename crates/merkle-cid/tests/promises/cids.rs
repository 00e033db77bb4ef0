//! CIDs are those of the `cid` crate, and what is no CID of ours is refused by name.

use merkle_cid::{CID_TEXT_LEN_MAX, Cid, CidError, Codec, Root};
use proptest::prelude::*;

const BLAKE3: u64 = 0x1e;

fn theirs(codec: u64, hash: u64, digest: &[u8]) -> cid::Cid {
    cid::Cid::new_v1(codec, cid::multihash::Multihash::wrap(hash, digest).expect("at most 64 bytes"))
}

proptest! {
    #[test]
    fn bytes_and_text_are_those_of_the_cid_crate(root in any::<[u8; 32]>(), cbor in any::<bool>()) {
        let (ours, code) = if cbor { (Cid::dag_cbor(Root(root)), 0x71) } else { (Cid::raw(Root(root)), 0x55) };
        let other = theirs(code, BLAKE3, &root);
        prop_assert_eq!(&ours.to_bytes()[..], other.to_bytes());
        prop_assert_eq!(ours.to_string(), other.to_string());
        prop_assert_eq!(ours.to_string().len(), 59);
        prop_assert_eq!(Cid::from_bytes(&other.to_bytes()), Ok(ours));
        prop_assert_eq!(other.to_string().parse(), Ok(ours));
        prop_assert_eq!(cid::Cid::try_from(ours.to_string()).unwrap(), other);
        for base in [cid::multibase::Base::Base32Upper, cid::multibase::Base::Base58Btc] {
            prop_assert_eq!(other.to_string_of_base(base).unwrap().parse(), Ok(ours));
        }
        prop_assert_eq!(ours.root(), Root(root));
        prop_assert_eq!(ours.codec().code(), code);
    }

    #[test]
    fn bytes_are_read_iff_they_are_what_is_written(mut bytes in prop::collection::vec(any::<u8>(), 0..50), ours in any::<bool>()) {
        if ours {
            bytes.splice(0..bytes.len().min(4), [0x01, 0x55, 0x1e, 0x20]);
        }
        match Cid::from_bytes(&bytes) {
            Ok(cid) => prop_assert_eq!(&cid.to_bytes()[..], bytes),
            Err(_) => prop_assert!(!(bytes.len() == 36 && bytes.starts_with(&[0x01, 0x55, 0x1e, 0x20]))),
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(text in ".{0,200}", tail in "[a-z2-7]{58}") {
        let _ = text.parse::<Cid>();
        if let Ok(cid) = format!("b{tail}").parse::<Cid>() {
            prop_assert_eq!(cid.to_string(), format!("b{tail}"));
        }
    }
}

#[test]
fn empty_content_has_the_cid_that_ipfs_tools_print() {
    let cid = Cid::raw(Root::of(b""));
    assert_eq!(cid.to_string(), theirs(0x55, BLAKE3, blake3::hash(b"").as_bytes()).to_string());
    assert_eq!(format!("{cid:?}"), cid.to_string());
}

#[test]
fn other_cids_are_refused_by_what_they_are() {
    let digest = [7; 32];
    let refused = |bytes: &[u8]| Cid::from_bytes(bytes).unwrap_err();
    let sha = cid::multihash::Multihash::wrap(0x12, &digest).unwrap();
    let zero = cid::Cid::new_v0(sha).unwrap();
    assert_eq!(refused(&zero.to_bytes()), CidError::VersionZero);
    assert_eq!(zero.to_string().parse::<Cid>(), Err(CidError::VersionZero));

    assert_eq!(refused(&theirs(0x55, 0x12, &digest).to_bytes()), CidError::HashFunction { came: 0x12 });
    assert_eq!(refused(&theirs(0x55, 0xb220, &digest).to_bytes()), CidError::HashFunction { came: 0xb220 });
    assert_eq!(refused(&theirs(0x70, BLAKE3, &digest).to_bytes()), CidError::Codec { came: 0x70 });
    assert_eq!(refused(&theirs(0x0129, BLAKE3, &digest).to_bytes()), CidError::Codec { came: 0x0129 });
    assert_eq!(refused(&theirs(0x55, BLAKE3, &digest[..20]).to_bytes()), CidError::HashLength { came: 20 });
    assert_eq!(refused(&theirs(0x55, BLAKE3, &[7; 64]).to_bytes()), CidError::HashLength { came: 64 });

    let ours = Cid::raw(Root(digest)).to_bytes();
    assert_eq!(refused(&ours[..35]), CidError::Length { came: 35 });
    assert_eq!(refused(&[&ours[..], &[0]].concat()), CidError::Length { came: 37 });
    assert_eq!(refused(&[&[2], &ours[1..]].concat()), CidError::Version { came: 2 });
    assert_eq!(refused(&[]), CidError::Varint { field: "version" });
    assert_eq!(refused(&[1]), CidError::Varint { field: "codec" });
    // The same number, padded: a second spelling of the same CID.
    assert_eq!(refused(&[&[0x81, 0x00], &ours[1..]].concat()), CidError::Varint { field: "version" });
    assert_eq!(refused(&[0xff; 36]), CidError::Varint { field: "version" });
    assert_eq!(Codec::Raw.code(), 0x55);
}

#[test]
fn other_texts_are_refused_by_what_they_are() {
    let ours = theirs(0x55, BLAKE3, &[7; 32]);
    let refused = |text: &str| text.parse::<Cid>().unwrap_err();
    assert_eq!(refused(""), CidError::TextLength { came: 0 });
    assert_eq!(refused(&"b".repeat(161)), CidError::TextLength { came: CID_TEXT_LEN_MAX + 1 });
    let hex = ours.to_string_of_base(cid::multibase::Base::Base16Lower).unwrap();
    assert_eq!(refused(&hex), CidError::Multibase { came: 'f' });
    let text = ours.to_string();
    assert!(matches!(refused(&text[..58]), CidError::Text { base: "base32", .. }));
    assert!(matches!(refused(&text.replacen('k', "1", 1)), CidError::Text { base: "base32", .. }));
    assert!(matches!(refused("z0OIl"), CidError::Text { base: "base58btc", .. }));
    // The unused bits of the last character must be zero, or one CID had four spellings.
    let last = text.chars().last().unwrap();
    assert_eq!(text.len(), 59);
    for other in "abcdefghijklmnopqrstuvwxyz234567".chars().filter(|&other| other != last) {
        let respelt = format!("{}{other}", &text[..58]);
        assert!(respelt.parse::<Cid>().is_err() || respelt.parse::<Cid>().unwrap().to_string() == respelt);
    }
}

#[test]
fn root_is_read_as_b3sum_prints_it() {
    let root = Root::of(b"tied to the rock");
    let text = blake3::hash(b"tied to the rock").to_string();
    assert_eq!(root.to_string(), text);
    assert_eq!(format!("{root:?}"), text);
    assert_eq!(text.parse(), Ok(root));
    assert_eq!(text.to_uppercase().parse(), Ok(root));
    assert!(text[1..].parse::<Root>().is_err());
    assert!(text.replacen(&text[..1], "x", 1).parse::<Root>().is_err());
    assert!("é".repeat(32).parse::<Root>().is_err());
}
