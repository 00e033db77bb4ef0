//! What is hashed or signed, under a named domain and with every part length-prefixed: two
//! different lists of parts never make the same bytes.

use blake3::{Hasher, OutputReader};

/// A labelled hash of labelled parts. BLAKE3 in `derive_key` mode with the domain as context
/// (BLAKE3 paper, section 2.3), then each part as label length, label, part length, part.
#[derive(Clone)]
pub struct Transcript(Hasher);

impl Transcript {
    /// Starts under `domain`, for instance `"holdfast 2026 fold challenge v1"`.
    pub fn new(domain: &'static str) -> Self {
        Self(Hasher::new_derive_key(domain))
    }

    /// Adds a part.
    #[must_use]
    pub fn absorb(mut self, label: &'static str, part: &[u8]) -> Self {
        self.push(label, part);
        self
    }

    /// Adds a number, as 8 big-endian bytes.
    #[must_use]
    pub fn absorb_u64(self, label: &'static str, part: u64) -> Self {
        self.absorb(label, &part.to_be_bytes())
    }

    /// Adds a part in place, for loops.
    pub fn push(&mut self, label: &'static str, part: &[u8]) {
        self.0.update(&(label.len() as u64).to_be_bytes());
        self.0.update(label.as_bytes());
        self.0.update(&(part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    /// The 32-byte digest.
    pub fn digest(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    /// A stream of as many bytes as wanted; position `p` is the same whatever was read before.
    pub fn stream(&self) -> OutputReader {
        self.0.finalize_xof()
    }
}

#[cfg(test)]
mod tests {
    use super::Transcript;

    #[test]
    fn moving_a_byte_across_a_boundary_changes_the_digest() {
        let one = Transcript::new("test").absorb("a", b"xy").absorb("b", b"z");
        let two = Transcript::new("test").absorb("a", b"x").absorb("b", b"yz");
        let three = Transcript::new("test").absorb("ax", b"y").absorb("b", b"z");
        assert_ne!(one.digest(), two.digest());
        assert_ne!(one.digest(), three.digest());
        assert_ne!(one.digest(), Transcript::new("tesu").absorb("a", b"xy").absorb("b", b"z").digest());
    }
}
