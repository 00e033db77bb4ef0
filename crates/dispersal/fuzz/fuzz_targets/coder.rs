//! `RUSTC_BOOTSTRAP=1 cargo fuzz run coder -- -max_len=20000`, in `crates/dispersal`: Reed–Solomon on every path of this
//! machine against the plain one, both ways, between heap buffers of their exact length.

#![no_main]

use holdfast_dispersal::{Coder, CpuPath};
use holdfast_types::{Code, ShardIndex};

/// Data and parity shards at most: more than a group of targets and two batches of sources.
const SHARDS_MAX: u16 = 18;
/// Bytes of a shard at most: beyond a strip of 16 KiB.
const LEN_MAX: usize = 17_000;
/// Bytes off an alignment at most: the widest register.
const SHIFT_MAX: usize = 64;

/// Strips with room for `shift` bytes before them, and not a byte behind.
struct Strips {
    buffers: Vec<Box<[u8]>>,
    shift: usize,
}

impl Strips {
    fn zeros(count: u16, len: usize, shift: usize) -> Self {
        Self { buffers: (0..count).map(|_| vec![0; shift + len].into()).collect(), shift }
    }

    /// Each begins elsewhere in `bytes`, and repeats them.
    fn filled(count: u16, len: usize, shift: usize, bytes: &[u8]) -> Self {
        let mut strips = Self::zeros(count, len, shift);
        let bytes = if bytes.is_empty() { &[1] } else { bytes };
        for (number, buffer) in strips.buffers.iter_mut().enumerate() {
            let from = number * 31 % bytes.len();
            let stream = bytes.iter().cycle().skip(from);
            buffer[shift..].iter_mut().zip(stream).for_each(|(to, from)| *to = from.wrapping_add(number as u8));
        }
        strips
    }

    fn all(&self) -> Vec<&[u8]> {
        self.buffers.iter().map(|buffer| &buffer[self.shift..]).collect()
    }
}

/// What a path makes of the sources.
fn made(coder: &Coder, path: CpuPath, sources: &[&[u8]], targets: u16, shift: usize) -> Strips {
    let mut made = Strips::zeros(targets, sources[0].len(), shift);
    let mut out: Vec<&mut [u8]> = made.buffers.iter_mut().map(|buffer| &mut buffer[shift..]).collect();
    coder.clone().on(path).expect("it is available").apply(sources, &mut out);
    made
}

fn agreed(coder: &Coder, sources: &[&[u8]], targets: u16, shift: usize) -> Strips {
    let plain = made(coder, CpuPath::Plain, sources, targets, 0);
    for path in CpuPath::available().filter(|path| *path != CpuPath::Plain) {
        let other = made(coder, path, sources, targets, shift);
        assert!(other.all() == plain.all(), "{path}, {} bytes at {shift}", sources[0].len());
    }
    plain
}

// k, m, length (2 bytes), shift, then the bytes; what is missing of the first five is zeros.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (described, bytes) = input.split_at(input.len().min(5));
    let mut head = [0; 5];
    head[..described.len()].copy_from_slice(described);
    let (k, m) = (1 + u16::from(head[0]) % SHARDS_MAX, 1 + u16::from(head[1]) % SHARDS_MAX);
    let len = usize::from(u16::from_le_bytes([head[2], head[3]])) % (LEN_MAX + 1);
    let shift = usize::from(head[4]) % (SHIFT_MAX + 1);
    let code = Code::new(k, m).expect("within bounds");
    let shards = Strips::filled(k, len, shift, bytes);
    let parity = agreed(&Coder::parity(code), &shards.all(), m, shift);

    // And back: the last k shards give the first.
    let all: Vec<&[u8]> = shards.all().into_iter().chain(parity.all()).collect();
    let last = &all[usize::from(m)..];
    let names = |range: std::ops::Range<u16>| range.map(ShardIndex).collect::<Vec<_>>();
    let lost = Coder::lost(code, &names(m..k + m), &names(0..m)).expect("k different shards");
    assert!(agreed(&lost, last, m, shift).all() == all[..usize::from(m)], "{k}+{m}, {len} bytes come back");
});
