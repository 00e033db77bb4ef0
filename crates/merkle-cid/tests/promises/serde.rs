//! Roots in records: text where people read, bytes where they do not.

use merkle_cid::Root;

#[test]
fn root_is_text_in_json_and_comes_back() {
    let root = Root::of(b"tied to the rock");
    let json = serde_json::to_string(&root).unwrap();
    assert_eq!(json, format!("\"{root}\""));
    assert_eq!(serde_json::from_str::<Root>(&json).unwrap(), root);
    for wrong in ["\"00\"", "7", "[1,2,3]", "null"] {
        assert!(serde_json::from_str::<Root>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn root_is_a_byte_string_in_cbor_and_comes_back() {
    let root = Root::of(b"tied to the rock");
    let cbor = serde_ipld_dagcbor::to_vec(&root).unwrap();
    assert_eq!(cbor, [&[0x58, 0x20], &root.as_bytes()[..]].concat());
    assert_eq!(serde_ipld_dagcbor::from_slice::<Root>(&cbor).unwrap(), root);
    assert!(serde_ipld_dagcbor::from_slice::<Root>(&[0x41, 0x00]).is_err());
}
