//! What the crate promises, held against BLAKE3's own vectors, other people's crates, and a plain recursive twin that
//! shares no code with it.

mod cids;
mod outboards;
mod proofs;
mod refusals;
#[cfg(feature = "serde")]
mod serde;
mod twin;
mod vectors;

/// The input of the official vectors: byte i is i mod 251.
fn painted(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Lengths at, below and above every boundary the tree has: leaf, group, powers of two of both.
fn boundary_lengths() -> Vec<usize> {
    let edges = [0, 1024, 2048, 3072, 4096, 8192, 16_384, 17_408, 32_768, 49_152, 65_536, 81_920, 126_976, 131_072];
    let mut lengths: Vec<usize> =
        edges.into_iter().flat_map(|edge: usize| [edge.saturating_sub(1), edge, edge + 1]).collect();
    lengths.extend([2, 63, 64, 65, 16_384 * 7 + 5, 16_384 * 16 + 1]);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// The examples of `docs/formats/merkle-cid.md`. Where this fails, stored outboards and proofs under way become
/// unreadable: it is the code that must change back.
#[test]
fn golden_bytes_of_the_formats() {
    use merkle_cid::{Cid, LeafIndex, LeafSet, Outboard, Root, prove_content};

    let content = painted(6244);
    let cid = Cid::raw(Root::of(&content));
    assert_eq!(cid.root().to_string(), "a632e23746321853eff5ac9c1388cdb16e5a65f576cf10095f23212526ac5d7f");
    assert_eq!(cid.to_string(), "bafkr4ifgglrdorrsdbj675nmtqjyrtnrnzngl5lwz4iasxzdeessnlc5p4");

    let proof = prove_content(&content, &LeafSet::new([2, 5].map(LeafIndex)).unwrap()).unwrap();
    assert_eq!(proof.as_bytes().len(), 2176);
    let digest = Root::of(proof.as_bytes()).to_string();
    assert_eq!(digest, "941a82fe7174613164a6a4406df852f74101afba57357c2aa89cbaac20a785f7");

    let outboard = Outboard::of(&painted(81_920));
    assert_eq!(outboard.as_bytes().len(), 256);
    let digest = Root::of(outboard.as_bytes()).to_string();
    assert_eq!(digest, "2befcacd48e32c63cec9a226463c40b07dfbc88bba383360d65c30746a9fcd54");
}
