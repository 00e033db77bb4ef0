//! The three ciphers, all AES-256 of aws-lc-rs, each with the one way it is used here.
//!
//! - [`FrameCipher`]: GCM for frames, nonces in the STREAM construction (Hoang, Reyhanitabar,
//!   Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015).
//! - [`seal_once`], [`open_once`]: GCM-SIV (RFC 8452) for small records and wrapped keys. A resumed
//!   put may seal the same page twice with other bytes, which plain GCM must never do.
//! - [`Keystream`]: CTR from any offset, for masks.

use aws_lc_rs::{
    aead::{AES_256_GCM, AES_256_GCM_SIV, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    iv::FixedLength,
};
use holdfast_types::FrameIndex;
use zeroize::Zeroizing;

use crate::key::{KEY_LEN, KeyBytes};

/// Bytes of the authentication tag behind every sealed frame and record.
pub const TAG_LEN: usize = 16;

const NONCE_LEN: usize = 12;
const BLOCK_LEN: usize = 16;

/// The bytes were not sealed under this key, nonce and associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

fn aead(algorithm: &'static Algorithm, key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("AES-256 takes every 32-byte key"))
}

/// Seals and opens the frames of one run.
pub(crate) struct FrameCipher(LessSafeKey);

/// 3 zero bytes, the frame index, and 1 for the last frame: frames cannot change places, and a
/// stream cut at a frame's end does not open.
fn frame_nonce(index: FrameIndex, last: bool) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[3..11].copy_from_slice(&index.0.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

impl FrameCipher {
    pub(crate) fn new(run_key: &KeyBytes) -> Self {
        Self(aead(&AES_256_GCM, run_key))
    }

    /// Fills `out`, which is as long as the body and a tag, with the body's ciphertext and tag.
    pub(crate) fn seal(&self, index: FrameIndex, last: bool, associated: &[u8], body: &[u8], out: &mut [u8]) {
        let nonce = Nonce::assume_unique_for_key(frame_nonce(index, last));
        let (ciphertext, tag) = out.split_at_mut(body.len());
        let sealed = self.0.seal_out_of_place_scatter(nonce, Aad::from(associated), body, ciphertext, &[], tag);
        sealed.expect("a frame is far below GCM's 64 GiB");
    }

    /// The body of a sealed frame, to `body`, whatever was in it: whoever hashes the sealed bytes still needs them. After
    /// an error there is nothing in it.
    pub(crate) fn open(
        &self,
        index: FrameIndex,
        last: bool,
        associated: &[u8],
        sealed: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<(), Forged> {
        let (ciphertext, tag) = sealed.split_at_checked(sealed.len().saturating_sub(TAG_LEN)).ok_or(Forged)?;
        let nonce = Nonce::assume_unique_for_key(frame_nonce(index, last));
        body.resize(ciphertext.len(), 0);
        let opened = self.0.open_separate_gather(nonce, Aad::from(associated), ciphertext, tag, body);
        opened.map_err(|_| {
            body.clear();
            Forged
        })
    }
}

/// Seals a small record; `number` distinguishes records under one key.
pub(crate) fn seal_once(key: &KeyBytes, number: u64, associated: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + TAG_LEN);
    out.extend_from_slice(plain);
    let cipher = aead(&AES_256_GCM_SIV, key);
    let sealed = cipher.seal_in_place_append_tag(once_nonce(number), Aad::from(associated), &mut out);
    sealed.expect("a record is far below GCM-SIV's 64 GiB");
    out
}

/// The inverse of [`seal_once`].
pub(crate) fn open_once(
    key: &KeyBytes,
    number: u64,
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Forged> {
    let mut out = Zeroizing::new(sealed.to_vec());
    let cipher = aead(&AES_256_GCM_SIV, key);
    let opened = cipher.open_in_place(once_nonce(number), Aad::from(associated), &mut out);
    let len = opened.map_err(|_| Forged)?.len();
    out.truncate(len);
    Ok(out)
}

fn once_nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// AES-256-CTR from any offset: the counter block is the 16-byte block number, big-endian, from zero.
pub(crate) struct Keystream(EncryptingKey);

impl Keystream {
    pub(crate) fn new(key: &KeyBytes) -> Self {
        let unbound = UnboundCipherKey::new(&AES_256, key.as_slice()).expect("AES-256 takes every 32-byte key");
        Self(EncryptingKey::ctr(unbound).expect("aws-lc has AES-256-CTR"))
    }

    /// XORs `bytes` with the keystream from byte `offset` on. Doing it twice undoes it.
    pub(crate) fn apply(&self, offset: u64, bytes: &mut [u8]) {
        let (block, inside) = (offset / BLOCK_LEN as u64, (offset % BLOCK_LEN as u64) as usize);
        if inside == 0 {
            return self.encrypt(block, bytes);
        }
        let (head, rest) = bytes.split_at_mut(bytes.len().min(BLOCK_LEN - inside));
        let mut stream = [0; BLOCK_LEN];
        self.encrypt(block, &mut stream);
        head.iter_mut().zip(&stream[inside..]).for_each(|(byte, key)| *byte ^= key);
        if !rest.is_empty() {
            self.encrypt(block + 1, rest);
        }
    }

    fn encrypt(&self, block: u64, bytes: &mut [u8]) {
        let counter = EncryptionContext::Iv128(FixedLength::from(u128::from(block).to_be_bytes()));
        self.0.less_safe_encrypt(bytes, counter).expect("CTR takes every length");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keystream_is_the_published_one() {
        // AES-256 of the blocks 0 and 1 under the zero key: the hash key and the tag of test case 13
        // in McGrew and Viega, "The Galois/Counter Mode of Operation".
        let key = Zeroizing::new([0; 32]);
        let mut stream = [0; 32];
        Keystream::new(&key).apply(0, &mut stream);
        assert_eq!(data_encoding::HEXLOWER.encode(&stream[..16]), "dc95c078a2408989ad48a21492842087");
        assert_eq!(data_encoding::HEXLOWER.encode(&stream[16..]), "530f8afbc74536b9a963b4f1c4cb738b");
    }

    proptest! {
        #[test]
        fn keystream_is_the_same_from_any_offset(start in 0usize..200, len in 0usize..100) {
            let key = Zeroizing::new([9; 32]);
            let mut whole = [0; 300];
            Keystream::new(&key).apply(0, &mut whole);
            let mut part = vec![0; len];
            Keystream::new(&key).apply(start as u64, &mut part);
            prop_assert_eq!(&part[..], &whole[start..start + len]);
        }
    }

    #[test]
    fn a_record_opens_only_as_what_it_was_sealed_as() {
        let key = Zeroizing::new([1; 32]);
        let sealed = seal_once(&key, 3, b"as", b"plain");
        assert_eq!(open_once(&key, 3, b"as", &sealed).unwrap().as_slice(), b"plain");
        assert_eq!(open_once(&key, 4, b"as", &sealed), Err(Forged));
        assert_eq!(open_once(&key, 3, b"at", &sealed), Err(Forged));
        assert_eq!(open_once(&Zeroizing::new([2; 32]), 3, b"as", &sealed), Err(Forged));
        assert_eq!(open_once(&key, 3, b"as", &sealed[..10]), Err(Forged));
    }
}
