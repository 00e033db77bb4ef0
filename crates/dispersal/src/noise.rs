//! Whether a frame is worth zstd's attempt. Films, archives and ciphertexts come by the gigabyte, and trying each frame in
//! vain costs as much as sealing it.
//!
//! The answer is a function of the object's bytes alone, or the same object would get two manifests: one frame in 32 is
//! always tried, and those that follow it are not if it did not shrink *and* they look as it did: every byte value about
//! equally often in 64 places of theirs. What this can lose, beside a frame that did not shrink: what comes twice within a
//! frame and looks random, and text that lies between the places, a twentieth of a frame or so.

use crate::table::FRAMES_PER_PAGE;

/// Frames that go by their first one's result.
pub(crate) const TRIED_EVERY: u64 = 32;
const _: () = assert!(FRAMES_PER_PAGE.is_multiple_of(TRIED_EVERY), "a page ends where such a run of frames ends");

/// Pieces are looked at, one in each 64th of a frame, so that a frame with a tenth of text in it does not pass. Each is a
/// wait for memory: few and long ones cost a third of many short ones.
const PIECES: usize = 64;
const PIECE_LEN: usize = 256;
/// Where in its 64th a piece begins moves by so much from one to the next. A database's pages have the same at the same
/// place of each; pieces at whole multiples of a page would see their random heads only, and not what fills them.
const STEP: usize = 6_151;

/// χ² of the byte values, 255 degrees of freedom: noise exceeds it once in 14,000 frames, and then is tried like any other.
const CHI_SQUARED_MAX: u64 = 350;

/// Whether the bytes of a frame look as if drawn one by one.
pub(crate) fn looks_random(plain: &[u8]) -> bool {
    let stride = plain.len() / PIECES;
    if stride < PIECE_LEN {
        return false;
    }
    // Four tables: neighbours that are equal do not wait for each other.
    let mut counts = [[0u32; 256]; 4];
    for (number, part) in plain.chunks_exact(stride).take(PIECES).enumerate() {
        let at = number * STEP % (stride - PIECE_LEN + 1);
        for four in part[at..at + PIECE_LEN].as_chunks::<4>().0 {
            counts.iter_mut().zip(four).for_each(|(counts, byte)| counts[usize::from(*byte)] += 1);
        }
    }
    let count = |byte: usize| counts.iter().map(|counts| u64::from(counts[byte])).sum::<u64>();
    // Σ (count − mean)² / mean, without the division.
    const SAMPLES: u64 = (PIECES * PIECE_LEN) as u64;
    const MEAN: u64 = SAMPLES / 256;
    (0..256).map(|byte| count(byte).abs_diff(MEAN).pow(2)).sum::<u64>() <= CHI_SQUARED_MAX * MEAN
}

#[cfg(test)]
mod tests {
    use holdfast_types::FRAME_LEN;

    use super::*;
    use crate::{Codec, Description, ObjectKey, RunSalt, Sealer};

    fn noise(len: usize, seed: u8) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn noise_looks_random_at_every_length_and_a_tenth_of_text_does_not() {
        for len in [PIECES * PIECE_LEN, 100_001, 1 << 20] {
            assert!((0..40).all(|seed| looks_random(&noise(len, seed))), "{len} bytes");
        }
        let mut mixed = noise(1 << 20, 1);
        mixed[300_000..405_000].iter_mut().for_each(|byte| *byte = b'a' + (*byte & 15));
        assert!(!looks_random(&mixed));
        assert!(!looks_random(&vec![0; 1 << 20]));
        assert!(!looks_random(b"holdfast ".repeat(100_000).as_slice()));
    }

    /// Pages of a database: a head that looks random (a salt, a sum, an encrypted header), and then what compresses.
    #[test]
    fn pages_whose_heads_alone_are_noise_do_not_look_random() {
        for page in [512, 4 << 10, 8 << 10, 16 << 10, 64 << 10, 256 << 10] {
            for head in [page / 64, page / 16, page / 4].map(|head| head.max(64)) {
                for fill in [0, 7] {
                    let mut frame = noise(1 << 20, 3);
                    let pages = frame.chunks_mut(page);
                    pages.for_each(|page| page[head..].iter_mut().for_each(|byte| *byte = b'a' + (*byte & fill)));
                    assert!(!looks_random(&frame), "pages of {page}, heads of {head}");
                }
            }
        }
    }

    /// The codecs of an object's frames; with `resumed`, the put was interrupted after that many.
    fn codecs(frames: &[Vec<u8>], resumed: usize) -> Vec<Codec> {
        let key = ObjectKey::from_bytes([1; 32]);
        let plain = frames.concat();
        let (before, after) = plain.split_at(resumed * FRAME_LEN as usize);
        let mut sealer = Sealer::new(key.clone(), RunSalt([0; 32])).unwrap();
        let mut out: Vec<Codec> = sealer.push(before).unwrap().iter().map(|frame| frame.codec).collect();
        out.extend(sealer.push(&after[..1.min(after.len())]).unwrap().iter().map(|frame| frame.codec));
        assert_eq!(out.len(), resumed);
        let mut sealer = Sealer::resume(key, sealer.checkpoint(), RunSalt([1; 32])).unwrap();
        out.extend(sealer.push(after).unwrap().iter().map(|frame| frame.codec));
        out.push(sealer.finish(Description::default()).unwrap().frame.codec);
        out
    }

    /// A frame that is random by its looks, but whose blocks all come twice; samples fall into different places of them.
    fn twice() -> Vec<u8> {
        let half = noise(FRAME_LEN as usize / 2, 7);
        half.chunks(4000).flat_map(|block| [block, block]).flatten().copied().collect()
    }

    #[test]
    fn noise_that_follows_noise_is_not_tried_and_text_always_is() {
        let len = FRAME_LEN as usize;
        let twice = twice();
        let text: Vec<u8> = b"holdfast ".iter().copied().cycle().take(len).collect();
        let one = |byte| noise(len, byte);
        let after_noise = [one(1), one(2), text.clone(), twice.clone(), one(3)];
        use Codec::{Raw, Zstd};
        assert_eq!(codecs(&after_noise, 1), [Raw, Raw, Zstd, Raw, Raw]);
        let after_text = [text, one(1), twice.clone(), one(2)];
        assert_eq!(codecs(&after_text, 1), [Zstd, Raw, Zstd, Raw]);
        // After TRIED_EVERY frames comes a first one again.
        let again: Vec<Vec<u8>> = (0..TRIED_EVERY as u8).map(one).chain([twice.clone(), twice]).collect();
        assert_eq!(codecs(&again, 1)[TRIED_EVERY as usize..], [Zstd, Zstd]);
    }

    #[test]
    fn an_interrupted_put_chooses_as_an_uninterrupted_one() {
        let len = FRAME_LEN as usize;
        let twice = twice();
        let frames = [noise(len, 1), twice.clone(), noise(len, 2), twice, vec![0; len]];
        let expected = codecs(&frames, 1);
        assert!((2..frames.len()).all(|resumed| codecs(&frames, resumed) == expected));
    }

    #[test]
    fn what_is_too_short_to_tell_is_tried() {
        assert!(!looks_random(&noise(PIECES * PIECE_LEN - 1, 1)));
        assert!(!looks_random(&[]));
    }
}
