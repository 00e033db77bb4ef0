//! Reed–Solomon by itself, between buffers of the caller's: what [`crate::Encoder`] and [`crate::Rebuilder`] do between
//! mask and hash. For whoever wants to compare the code with another implementation of it, in bytes or in speed.

use holdfast_types::{Code, ShardIndex};

use crate::{
    geometry::SegmentError,
    rows::Rows,
    simd::{CpuPath, PathUnavailable},
};

/// A map from k shards to others of the same segment, byte for byte that of `reed-solomon-erasure`.
///
/// ```
/// use holdfast_dispersal::Coder;
/// use holdfast_types::Code;
/// let mut parity = [[0; 3]; 2];
/// let [first, second] = &mut parity;
/// Coder::parity(Code::new(2, 2)?).apply(&[b"abc", b"def"], &mut [first, second]);
/// assert_ne!(parity[0], parity[1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Coder(Rows);

impl Coder {
    /// From the k data shards to the m parity shards.
    pub fn parity(code: Code) -> Self {
        Self(Rows::encode(code))
    }

    /// From k different shards to `targets`, whichever they are.
    ///
    /// # Errors
    /// [`SegmentError::TooFewShards`] unless `sources` are k different shards of the code.
    pub fn lost(code: Code, sources: &[ShardIndex], targets: &[ShardIndex]) -> Result<Self, SegmentError> {
        let mut known = Vec::with_capacity(sources.len());
        for source in sources.iter().filter(|source| source.0 < code.total()) {
            if !known.contains(source) {
                known.push(*source);
            }
        }
        let exact = known.len() == sources.len() && known.len() == usize::from(code.data());
        if !exact || targets.iter().any(|target| target.0 >= code.total()) {
            return Err(SegmentError::TooFewShards { found: known.len() as u16, needed: code.data() });
        }
        Ok(Self(Rows::rebuild(code, sources, targets)))
    }

    /// The same on other instructions than the best: for tests and measurements.
    ///
    /// # Errors
    /// [`PathUnavailable`] where the processor lacks them.
    pub fn on(self, path: CpuPath) -> Result<Self, PathUnavailable> {
        Ok(Self(self.0.on(path)?))
    }

    /// The instructions that it runs on.
    pub const fn path(&self) -> CpuPath {
        self.0.path()
    }

    /// Overwrites `targets` with what they are, given `sources`, both in the order of the map.
    ///
    /// # Panics
    /// Where the buffers are not as many as the map has, or not of one length.
    pub fn apply(&self, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        self.0.apply(sources, targets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_must_be_k_different_shards_of_the_code() {
        let code = Code::new(2, 2).unwrap();
        let at = |list: &[u16]| list.iter().copied().map(ShardIndex).collect::<Vec<_>>();
        for (sources, targets) in
            [(at(&[0]), at(&[1])), (at(&[2, 2]), at(&[0])), (at(&[1, 4]), at(&[0])), (at(&[2, 3]), at(&[4]))]
        {
            assert!(Coder::lost(code, &sources, &targets).is_err());
        }
        let coder = Coder::lost(code, &at(&[3, 2]), &at(&[0])).unwrap();
        let (mut third, mut fourth, mut first) = ([0; 4], [0; 4], [0; 4]);
        Coder::parity(code).apply(&[b"reef", b"kelp"], &mut [&mut third, &mut fourth]);
        coder.apply(&[&fourth, &third], &mut [&mut first]);
        assert_eq!(&first, b"reef");
    }

    #[test]
    fn from_k_shards_to_none_there_is_nothing_to_do() {
        let sources: Vec<ShardIndex> = [0, 1].map(ShardIndex).into();
        let coder = Coder::lost(Code::new(2, 2).unwrap(), &sources, &[]).unwrap();
        for path in CpuPath::available() {
            coder.clone().on(path).unwrap().apply(&[b"reef", b"kelp"], &mut []);
        }
    }
}
