//! Seals clients' witnesses before they are stored. Whoever steals or restores the catalog learns no secret from it: the key
//! comes from the recovery key, which is kept outside. AES-256-GCM-SIV (RFC 8452) as for the other wraps, under a nonce
//! of the operating system's chance, bound to the shard that the witness is of.
//!
//! ```text
//! nonce 12   sealed (seed 32, y 32)   tag 16        associated: domain, segment, index, witness
//! ```

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use holdfast_dispersal::RecoveryKey;
use holdfast_protocol::{
    model::SealedWitness,
    witness::{Witness, WitnessId, WitnessSeed},
};
use holdfast_types::{SegmentId, ShardIndex, Transcript};
use zeroize::Zeroizing;

const NONCE_LEN: usize = 12;
const PLAIN_LEN: usize = WitnessSeed::LEN + 32;

/// The key that witnesses are sealed under.
pub(crate) struct WitnessKey(LessSafeKey);

impl WitnessKey {
    /// A key of its own domain, from the key that is kept outside the catalog anyway.
    pub(crate) fn derive(recovery: &RecoveryKey) -> Result<Self, String> {
        let transcript =
            Transcript::new("holdfast 2026 witness sealing key v1").absorb("recovery", recovery.as_bytes());
        let key = Zeroizing::new(transcript.digest());
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*key).map_err(|_| "no key of 32 bytes".to_owned())?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals a witness of this shard.
    pub(crate) fn seal(
        &self,
        segment: SegmentId,
        index: ShardIndex,
        witness: &Witness,
    ) -> Result<SealedWitness, String> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| format!("no random bytes from the operating system: {error}"))?;
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_LEN + 16));
        plain.extend(witness.seed.expose());
        plain.extend(witness.y);
        let aad = Aad::from(associated(segment, index, witness.id));
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *plain)
            .map_err(|_| "a witness was not sealed".to_owned())?;
        let sealed = [&nonce[..], &plain[..]].concat();
        Ok(SealedWitness { index, id: witness.id, sealed, list: None })
    }

    /// The inverse; fails for what was sealed for another shard, under another key, or changed since.
    pub(crate) fn open(
        &self,
        segment: SegmentId,
        index: ShardIndex,
        id: WitnessId,
        sealed: &[u8],
    ) -> Result<Witness, String> {
        let forged = || format!("witness {id} of shard {index} of segment {segment} does not unseal with this key");
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(forged)?;
        let mut body = Zeroizing::new(body.to_vec());
        let aad = Aad::from(associated(segment, index, id));
        let plain = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut body).map_err(|_| forged())?;
        let (seed, y) = plain.split_first_chunk::<32>().ok_or_else(forged)?;
        let y = <[u8; 32]>::try_from(y).map_err(|_| forged())?;
        Ok(Witness { id, seed: WitnessSeed::new(*seed), y })
    }
}

impl std::fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WitnessKey(..)")
    }
}

/// What a sealed witness is bound to: one moved to another row of the catalog does not open there.
fn associated(segment: SegmentId, index: ShardIndex, id: WitnessId) -> [u8; 32] {
    Transcript::new("holdfast 2026 sealed witness v1")
        .absorb("segment", segment.as_bytes())
        .absorb_u64("index", index.0.into())
        .absorb("witness", id.as_bytes())
        .digest()
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::model::SEALED_WITNESS_MAX;

    use super::*;

    fn key(n: u8) -> WitnessKey {
        WitnessKey::derive(&RecoveryKey::from_bytes([n; 32])).unwrap()
    }

    fn witness() -> Witness {
        Witness { id: WitnessId([1; 16]), seed: WitnessSeed::new([0xa5; 32]), y: [3; 32] }
    }

    #[test]
    fn a_sealed_witness_opens_for_its_shard_under_its_key_only() {
        let (segment, index, id) = (SegmentId([7; 16]), ShardIndex(4), WitnessId([1; 16]));
        let sealed = key(1).seal(segment, index, &witness()).unwrap();
        assert!(sealed.sealed.len() <= SEALED_WITNESS_MAX);
        assert_eq!(key(1).open(segment, index, id, &sealed.sealed), Ok(witness()));
        // Attack: whoever can write the catalog moves a witness to a shard of its own.
        assert!(key(1).open(SegmentId([8; 16]), index, id, &sealed.sealed).is_err());
        assert!(key(1).open(segment, ShardIndex(5), id, &sealed.sealed).is_err());
        assert!(key(1).open(segment, index, WitnessId([2; 16]), &sealed.sealed).is_err());
        assert!(key(2).open(segment, index, id, &sealed.sealed).is_err());
        for at in 0..sealed.sealed.len() {
            let mut bad = sealed.sealed.clone();
            bad[at] ^= 1;
            assert!(key(1).open(segment, index, id, &bad).is_err(), "byte {at}");
        }
        assert!(key(1).open(segment, index, id, &[]).is_err());
    }

    /// Attack: a stolen catalog.
    #[test]
    fn the_stored_bytes_hold_no_secret_and_never_repeat() {
        let seal = || key(1).seal(SegmentId([7; 16]), ShardIndex(4), &witness()).unwrap().sealed;
        let (one, two) = (seal(), seal());
        assert!(!one.windows(8).any(|window| window == [0xa5; 8]));
        assert_ne!(one, two);
    }
}
