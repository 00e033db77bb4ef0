//! Reed–Solomon over the shards of a full segment, beside `reed-solomon-erasure` with `simd-accel`.
//!
//! That feature would be the product's too in one build with it, so the peer is a process of its own
//! (`simd-accel/`), on the same processor, with its own buffers of the same bytes. Its C code is compiled for haswell, as
//! its build script does unless `RUST_REED_SOLOMON_ERASURE_ARCH` says otherwise. cargo does not know that that variable
//! matters, so each value has a target directory of its own.

use std::{
    env,
    hint::black_box,
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use holdfast_dispersal::Coder;
use holdfast_types::{Code, ShardIndex};

use crate::{Contest, noise::noise, timed};

/// Sealed bytes of a segment.
const SEGMENT_LEN: usize = 64 << 20;

/// Which processors the peer's C code is compiled for.
pub fn peer_arch() -> String {
    env::var("RUST_REED_SOLOMON_ERASURE_ARCH").unwrap_or_else(|_| "haswell".into())
}

fn peer_name() -> Option<String> {
    Some(format!("reed-solomon-erasure 6 with simd-accel (-march={})", peer_arch()))
}

/// The peer's process.
struct Peer {
    child: Child,
    commands: Option<ChildStdin>,
    answers: ChildStdout,
}

impl Peer {
    /// Starts it (cargo builds it first, if nobody has) and hands it the data shards.
    fn start(code: (u16, u16), data: &[u8]) -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("simd-accel");
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| package.join("target"), Into::into);
        let shard_len = data.len() / usize::from(code.0);
        let mut child = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["run", "--quiet", "--release", "--locked", "--manifest-path"])
            .arg(package.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target.join(format!("simd-accel-{}", peer_arch())))
            .arg("--")
            .args([code.0.to_string(), code.1.to_string(), shard_len.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo starts the peer");
        let mut commands = child.stdin.take().expect("its input");
        let answers = child.stdout.take().expect("its output");
        commands.write_all(data).expect("the peer takes the data shards");
        Self { child, commands: Some(commands), answers }
    }

    fn ask(&mut self, command: u8, answer: &mut [u8]) {
        let commands = self.commands.as_mut().expect("open until dropped");
        commands.write_all(&[command]).and_then(|()| commands.flush()).expect("the peer listens");
        self.answers.read_exact(answer).expect("the peer answers; if it ended, its message is above");
    }

    fn seconds(&mut self, command: u8) -> f64 {
        let mut nanoseconds = [0; 8];
        self.ask(command, &mut nanoseconds);
        u64::from_le_bytes(nanoseconds) as f64 / 1e9
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

/// Ours and the peer's, of the same shards.
struct Coding {
    code: Code,
    data: Vec<u8>,
    parity: Vec<u8>,
    shard_len: usize,
    peer: Peer,
}

impl Coding {
    /// Asserts that the parity is byte for byte the same.
    fn new(k: u16, m: u16) -> Self {
        let shard_len = SEGMENT_LEN / usize::from(k);
        let data = noise(shard_len * usize::from(k), 3);
        let peer = Peer::start((k, m), &data);
        let parity = vec![0; shard_len * usize::from(m)];
        let mut coding = Self { code: Code::new(k, m).expect("a code"), data, parity, shard_len, peer };
        coding.encode();
        let mut theirs = vec![0; coding.parity.len()];
        coding.peer.ask(b'p', &mut theirs);
        assert!(theirs == coding.parity, "the parity at {k}+{m} is byte for byte the peer's");
        coding
    }

    fn encode(&mut self) -> f64 {
        let coder = Coder::parity(self.code);
        let sources: Vec<&[u8]> = self.data.chunks(self.shard_len).collect();
        let mut targets: Vec<&mut [u8]> = self.parity.chunks_mut(self.shard_len).collect();
        timed(|| coder.apply(black_box(&sources), black_box(&mut targets)))
    }

    fn work(&self, what: &str) -> String {
        format!(
            "Reed–Solomon ({}, {}) {what}, {} MiB of data",
            self.code.data(),
            self.code.parity(),
            self.data.len() >> 20
        )
    }
}

/// The m parity shards from the k data shards.
pub struct EncodeContest(Coding);

impl EncodeContest {
    /// Asserts that the parity is byte for byte the same.
    pub fn new(k: u16, m: u16) -> Self {
        Self(Coding::new(k, m))
    }
}

impl Contest for EncodeContest {
    fn work(&self) -> String {
        self.0.work("encode")
    }

    fn peer_name(&self) -> Option<String> {
        peer_name()
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.0.data.len() as u64)
    }

    fn ours(&mut self) -> f64 {
        self.0.encode()
    }

    fn peer(&mut self) -> f64 {
        self.0.peer.seconds(b'e')
    }
}

/// The first m data shards from the rest and the parity; working out the coefficients included.
pub struct ReconstructContest {
    coding: Coding,
    rebuilt: Vec<u8>,
}

impl ReconstructContest {
    /// Asserts that what is made again is what was lost; the peer's process asserts the same of its own.
    pub fn new(k: u16, m: u16) -> Self {
        let coding = Coding::new(k, m);
        let rebuilt = vec![0; coding.shard_len * usize::from(m.min(k))];
        let mut contest = Self { coding, rebuilt };
        contest.ours();
        assert!(contest.rebuilt == contest.coding.data[..contest.rebuilt.len()], "what was lost is back");
        contest
    }
}

impl Contest for ReconstructContest {
    fn work(&self) -> String {
        self.coding.work(&format!("reconstruct, {} data shards lost", self.coding.code.parity()))
    }

    fn peer_name(&self) -> Option<String> {
        peer_name()
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.coding.data.len() as u64)
    }

    fn ours(&mut self) -> f64 {
        let coding = &self.coding;
        let lost = coding.code.parity().min(coding.code.data());
        let shards: Vec<&[u8]> =
            coding.data.chunks(coding.shard_len).chain(coding.parity.chunks(coding.shard_len)).collect();
        let present: Vec<ShardIndex> = (lost..lost + coding.code.data()).map(ShardIndex).collect();
        let gone: Vec<ShardIndex> = (0..lost).map(ShardIndex).collect();
        let sources: Vec<&[u8]> = present.iter().map(|index| shards[usize::from(index.0)]).collect();
        let mut targets: Vec<&mut [u8]> = self.rebuilt.chunks_mut(coding.shard_len).collect();
        timed(|| {
            let coder = Coder::lost(coding.code, &present, &gone).expect("k shards");
            coder.apply(black_box(&sources), black_box(&mut targets));
        })
    }

    fn peer(&mut self) -> f64 {
        self.coding.peer.seconds(b'r')
    }
}
