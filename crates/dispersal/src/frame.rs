//! One frame: up to 1 MiB of an object, compressed if that helps, and sealed on its own.
//!
//! ```text
//! sealed frame = AES-256-GCM(body) ‖ tag (16 bytes)      body = zstd(plain) if tried and shorter, or plain
//! key          = run key
//! nonce        = 00 00 00 ‖ frame index (8, big-endian) ‖ last (1)
//! associated   = suite (2, big-endian) ‖ codec (1) ‖ plain length (4, big-endian)
//! ```
//!
//! Nothing of it is in the clear: lengths and codecs are in the sealed frame table, because
//! compressed sizes are a fingerprint of known files. To whoever has no key, a sealed stream is
//! noise.

use holdfast_types::{FRAME_LEN, FrameIndex};
use zstd::bulk::{Compressor, Decompressor};

use crate::{
    cipher::{FrameCipher, TAG_LEN},
    key::{ObjectKey, RunSalt},
    open::OpenError,
    seal::SealError,
    table::{FrameSpan, Run},
};

/// The way an object of this version is sealed: frames of 1 MiB, zstd level 1, AES-256-GCM in STREAM,
/// BLAKE3. In every manifest; another one is refused.
pub const SUITE: u16 = 1;

/// Bytes of a sealed frame at most: 1 MiB that did not shrink, and the tag.
pub const FRAME_SEALED_LEN_MAX: u64 = FRAME_LEN + TAG_LEN as u64;

/// The fastest level that still finds text and sparse files; incompressible input passes at several GB/s.
const ZSTD_LEVEL: i32 = 1;

/// How the body of a frame is to be read. Three bits in the frame table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Codec {
    pub(crate) const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// A frame, sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedFrame {
    /// Which of the object's frames.
    pub index: FrameIndex,
    /// How its body is to be read.
    pub codec: Codec,
    /// Where in the object's sealed stream it starts.
    pub stream_offset: u64,
    /// Ciphertext and tag.
    pub bytes: Vec<u8>,
}

fn associated(codec: Codec, plain_len: u64) -> [u8; 7] {
    let mut out = [0; 7];
    out[..2].copy_from_slice(&SUITE.to_be_bytes());
    out[2] = codec as u8;
    out[3..].copy_from_slice(&(plain_len as u32).to_be_bytes());
    out
}

/// Seals the frames of one run.
pub(crate) struct FrameSealer {
    cipher: FrameCipher,
    compressor: Compressor<'static>,
    scratch: Vec<u8>,
}

impl FrameSealer {
    pub(crate) fn new(key: &ObjectKey, salt: &RunSalt) -> Result<Self, SealError> {
        let compressor = Compressor::new(ZSTD_LEVEL).map_err(|error| SealError::Compress(error.to_string()))?;
        let scratch = Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_LEN as usize));
        Ok(Self { cipher: FrameCipher::new(&key.run_key(salt)), compressor, scratch })
    }

    /// Seals at most [`FRAME_LEN`] bytes to the front of `room`, which has room for them and a tag; compresses them where
    /// `compress` says so and they shrink. One pass from where they are to where they will stay. Gives the sealed length.
    pub(crate) fn seal(
        &mut self,
        index: FrameIndex,
        last: bool,
        compress: bool,
        plain: &[u8],
        room: &mut [u8],
    ) -> Result<(Codec, usize), SealError> {
        self.scratch.clear();
        if compress {
            let compressed = self.compressor.compress_to_buffer(plain, &mut self.scratch);
            compressed.map_err(|error| SealError::Compress(error.to_string()))?;
        }
        let shrunk = compress && self.scratch.len() < plain.len();
        let (codec, body) = if shrunk { (Codec::Zstd, self.scratch.as_slice()) } else { (Codec::Raw, plain) };
        let len = body.len() + TAG_LEN;
        self.cipher.seal(index, last, &associated(codec, plain.len() as u64), body, &mut room[..len]);
        Ok((codec, len))
    }
}

/// Opens frames of any run of one object.
pub(crate) struct FrameOpener {
    runs: Vec<(FrameIndex, FrameCipher)>,
    decompressor: Decompressor<'static>,
    /// Of a frame that is to be unpacked.
    body: Vec<u8>,
}

impl FrameOpener {
    /// `runs` is sorted and starts at frame 0.
    pub(crate) fn new(key: &ObjectKey, runs: &[Run]) -> Result<Self, OpenError> {
        let cipher = |run: &Run| (run.first_frame, FrameCipher::new(&key.run_key(&run.salt)));
        let decompressor = Decompressor::new().map_err(|error| OpenError::Decompress(error.to_string()))?;
        Ok(Self { runs: runs.iter().map(cipher).collect(), decompressor, body: Vec::new() })
    }

    /// Opens the sealed bytes of `span`, to `plain`, whatever was in it. After an error nothing of it is to be given out.
    pub(crate) fn open(&mut self, span: &FrameSpan, sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), OpenError> {
        let refused = || OpenError::Frame { frame: span.index, sealed: span.sealed };
        if sealed.len() as u64 != span.sealed.len() {
            return Err(refused());
        }
        let run = self.runs.partition_point(|(first, _)| *first <= span.index);
        let (_, cipher) = run.checked_sub(1).and_then(|place| self.runs.get(place)).ok_or_else(refused)?;
        let (last, plain_len) = (span.last, span.plain.len());
        let associated = associated(span.codec, plain_len);
        let body = if span.codec == Codec::Raw { &mut *plain } else { &mut self.body };
        cipher.open(span.index, last, &associated, sealed, body).map_err(|_| refused())?;
        if span.codec == Codec::Zstd { self.decompress(span, plain) } else { Ok(()) }
    }

    fn decompress(&mut self, span: &FrameSpan, plain: &mut Vec<u8>) -> Result<(), OpenError> {
        // A bomb: a body of a few bytes that unpacks to gigabytes. The buffer is the bound, and it
        // never has more than a frame.
        plain.resize(span.plain.len().min(FRAME_LEN) as usize, 0);
        match self.decompressor.decompress_to_buffer(&self.body, plain.as_mut_slice()) {
            Ok(len) if len == plain.len() => Ok(()),
            Ok(len) => {
                Err(OpenError::Unpacked { frame: span.index, expected: span.plain.len(), got: format!("{len}") })
            }
            Err(error) => {
                Err(OpenError::Unpacked { frame: span.index, expected: span.plain.len(), got: error.to_string() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::ByteRange;

    use super::*;
    use crate::geometry::span;

    fn runs() -> [Run; 1] {
        [Run { first_frame: FrameIndex(0), salt: RunSalt([2; 32]) }]
    }

    fn sealer() -> FrameSealer {
        FrameSealer::new(&ObjectKey::from_bytes([1; 32]), &RunSalt([2; 32])).unwrap()
    }

    fn sealed(index: u64, last: bool, plain: &[u8]) -> (Codec, Vec<u8>) {
        let mut out = vec![0; plain.len() + TAG_LEN];
        let (codec, len) = sealer().seal(FrameIndex(index), last, true, plain, &mut out).unwrap();
        out.truncate(len);
        (codec, out)
    }

    fn opened(span: &FrameSpan, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut opener = FrameOpener::new(&ObjectKey::from_bytes([1; 32]), &runs()).unwrap();
        // What was in the buffer before, less or more than the frame, is not of it.
        let [less, more] = [5, 2 << 20].map(|len| {
            let mut plain = vec![9; len];
            opener.open(span, sealed, &mut plain).map(|()| plain)
        });
        assert_eq!(less, more);
        more
    }

    fn at(index: u64, last: bool, codec: Codec, sealed: &[u8], plain: u64) -> FrameSpan {
        let sealed = span(0, sealed.len() as u64);
        FrameSpan { index: FrameIndex(index), last, codec, sealed, plain: ByteRange::first(plain) }
    }

    #[test]
    fn a_frame_opens_only_in_its_place() {
        let (codec, bytes) = sealed(5, false, b"some frame");
        assert_eq!(codec, Codec::Raw);
        let good = at(5, false, codec, &bytes, 10);
        assert_eq!(opened(&good, &bytes).unwrap(), b"some frame");
        let misplaced = [
            FrameSpan { index: FrameIndex(6), ..good },
            FrameSpan { last: true, ..good },
            FrameSpan { codec: Codec::Zstd, ..good },
            FrameSpan { plain: ByteRange::first(11), ..good },
        ];
        for span in misplaced {
            assert!(matches!(opened(&span, &bytes), Err(OpenError::Frame { .. })), "{span:?}");
        }
        for place in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[place] ^= 1;
            assert!(opened(&good, &bad).is_err(), "byte {place}");
        }
    }

    #[test]
    fn what_shrinks_is_compressed_and_what_does_not_is_left_alone() {
        let zeros = vec![0; FRAME_LEN as usize];
        let (codec, bytes) = sealed(0, true, &zeros);
        assert_eq!(codec, Codec::Zstd);
        assert!(bytes.len() < 1000);
        assert_eq!(opened(&at(0, true, codec, &bytes, FRAME_LEN), &bytes).unwrap(), zeros);
        let (codec, bytes) = sealed(0, true, b"");
        assert_eq!((codec, bytes.len()), (Codec::Raw, TAG_LEN));
    }

    #[test]
    fn a_compression_bomb_is_bounded_by_the_frame() {
        let sealed = |body: &[u8], claimed: u64| {
            let mut out = vec![0; body.len() + TAG_LEN];
            sealer().cipher.seal(FrameIndex(0), true, &associated(Codec::Zstd, claimed), body, &mut out);
            out
        };
        let bytes = sealed(&zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap(), FRAME_LEN);
        let error = opened(&at(0, true, Codec::Zstd, &bytes, FRAME_LEN), &bytes).unwrap_err();
        assert!(matches!(error, OpenError::Unpacked { .. }), "{error}");
        // And one that unpacks to less than it says.
        let bytes = sealed(&zstd::bulk::compress(&[0; 1000], 1).unwrap(), 2000);
        let error = opened(&at(0, true, Codec::Zstd, &bytes, 2000), &bytes).unwrap_err();
        assert!(matches!(error, OpenError::Unpacked { .. }), "{error}");
    }
}
