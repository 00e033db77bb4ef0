//! Holdfast's fast paths beside named peers: the work, its equality, its time.
//!
//! Every comparison is a [`Contest`]: built from bytes of a fixed seed, it first asserts that both sides come to the same
//! result, and then does one round of either side on request. The report (`src/main.rs`) interleaves them on one pinned
//! thread and keeps the least time of each; `cargo bench` gives the same contests to criterion.
//!
//! | module | contest | peer |
//! |---|---|---|
//! | [`proofs`] | fold, commit, fold + open, verify, batch | blst's C functions, c-kzg; for the batch, ourselves one by one |
//! | [`coding`] | Reed–Solomon encode, reconstruct | reed-solomon-erasure with `simd-accel`, in a process of its own |
//! | [`hashing`] | Merkle root and outboard of a shard | `blake3::Hasher::update` |
//! | [`pipeline`] | object → masked, named shards and their witnesses | – |
//!
//! A time is processor time of this whole process: a thread that a contest started would be counted.

pub mod coding;
pub mod contest;
pub mod hashing;
pub mod noise;
pub mod pipeline;
pub mod proofs;
pub mod rented;

pub use contest::{Contest, Effort, Measured, measure, pin, timed};

/// Whether to take sizes and times that fit in a coffee break or in under half a minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// Smaller sizes, fewer rounds.
    pub quick: bool,
}

impl Scale {
    /// Bytes of an object in the pipeline.
    const fn pipeline(self) -> usize {
        if self.quick { 64 << 20 } else { 512 << 20 }
    }
}

/// Makes a contest when its turn comes: together they would not fit a small machine.
pub type Make = fn(Scale) -> Box<dyn Contest>;

/// All contests, each behind its row's key in the report and in the JSON object, in the order of the report.
pub fn contests() -> Vec<(&'static str, Make)> {
    vec![
        ("fold_vs_blst", |_| Box::new(proofs::FoldContest::new())),
        ("commit_vs_ckzg", |_| Box::new(proofs::CommitContest::new())),
        ("prove_vs_blst", |_| Box::new(proofs::ProveContest::new())),
        ("verify_vs_blst", |_| Box::new(proofs::VerifyContest::new())),
        ("batch_verify_gain", |_| Box::new(proofs::BatchContest::new())),
        ("rs_encode_vs_simd_accel", |_| Box::new(coding::EncodeContest::new(16, 4))),
        ("rs_encode_vs_simd_accel", |_| Box::new(coding::EncodeContest::new(8, 4))),
        ("rs_reconstruct_vs_simd_accel", |_| Box::new(coding::ReconstructContest::new(16, 4))),
        ("rs_reconstruct_vs_simd_accel", |_| Box::new(coding::ReconstructContest::new(8, 4))),
        ("merkle_vs_blake3", |_| Box::new(hashing::OutboardContest::new())),
        ("pipeline_gb_per_s", |scale| Box::new(pipeline::PipelineContest::new(scale.pipeline()))),
        ("pipeline_ciphers_and_hashes", |scale| Box::new(pipeline::CiphersAndHashes::new(scale.pipeline()))),
    ]
}

/// Which paths the product chose on this processor, by its own detection: (proofs, coding).
pub fn cpu_paths() -> (String, String) {
    (holdfast_kzg::CpuPath::detected().to_string(), holdfast_dispersal::CpuPath::detected().to_string())
}
