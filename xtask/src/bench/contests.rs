//! What `benches/peers` found: seconds of ours and of the peer's, for the same work, in the same run.

use std::process::Command;

use serde_json::Value;

use super::{
    build::{self, Built},
    number, rounded,
};

/// A comparison, or a throughput by itself.
pub(super) struct Row {
    pub(super) key: String,
    pub(super) work: String,
    pub(super) peer_name: Option<String>,
    pub(super) bytes: Option<u64>,
    pub(super) ours: f64,
    pub(super) peer: Option<f64>,
    pub(super) rounds: u64,
}

/// All of them.
pub(super) struct Contests {
    /// What the product chose for proofs.
    pub(super) proofs_path: String,
    /// And for Reed–Solomon.
    pub(super) coding_path: String,
    pub(super) rows: Vec<Row>,
}

/// The name of the proofs' path with IFMA.
const PROOFS_FAST: &str = "avx512-ifma";
/// The name of the coding path with GFNI.
const CODING_FAST: &str = "gfni512";

/// What a row should reach.
pub(super) struct Goal {
    pub(super) key: &'static str,
    /// Ratio or GB/s with the best instructions, and without.
    pub(super) fast: f64,
    pub(super) plain: f64,
}

/// Of every contest; `fold_gb_per_s` stands beside `fold_vs_blst`, and only where the fast path runs.
pub(super) const GOALS: [Goal; 9] = [
    Goal { key: "fold_vs_blst", fast: 5.0, plain: 2.5 },
    Goal { key: "commit_vs_ckzg", fast: 5.0, plain: 1.3 },
    Goal { key: "prove_vs_blst", fast: 4.0, plain: 1.3 },
    Goal { key: "verify_vs_blst", fast: 1.0 / 1.1, plain: 1.0 / 1.1 },
    Goal { key: "batch_verify_gain", fast: 2.5, plain: 2.0 },
    Goal { key: "rs_encode_vs_simd_accel", fast: 1.8, plain: 1.0 },
    Goal { key: "rs_reconstruct_vs_simd_accel", fast: 1.0, plain: 1.0 },
    Goal { key: "merkle_vs_blake3", fast: 0.85, plain: 0.85 },
    Goal { key: "pipeline_gb_per_s", fast: 1.2, plain: 0.5 },
];

/// Runs them all, one after the other, on one processor.
pub(super) fn run(built: &Built, quick: bool) -> Result<Contests, String> {
    let mut command = Command::new(&built.peers);
    command.args(quick.then_some("--quick")).env("CARGO_TARGET_DIR", &built.peers_target);
    let object = build::answer(&mut command, "holdfast-peers")?;
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let rows = object.get("rows").and_then(Value::as_array).ok_or("expected rows from holdfast-peers")?;
    let row = |row: &Value| {
        let whose = "a row of holdfast-peers";
        let peer_name = text(row, "peer_name");
        Ok(Row {
            key: text(row, "key").ok_or("expected a row's key")?,
            work: text(row, "work").ok_or("expected a row's work")?,
            bytes: row.get("bytes").and_then(Value::as_u64),
            ours: number(row, "ours", whose)?,
            peer: peer_name.is_some().then(|| number(row, "peer", whose)).transpose()?,
            rounds: number(row, "rounds", whose)? as u64,
            peer_name,
        })
    };
    let rows = rows.iter().map(row).collect::<Result<_, String>>()?;
    let path = |of: &str| {
        let path = object.get("paths").and_then(|paths| text(paths, of));
        path.ok_or_else(|| format!("expected paths.{of} from holdfast-peers"))
    };
    Ok(Contests { proofs_path: path("proofs")?, coding_path: path("coding")?, rows })
}

impl Contests {
    /// The first row of a key.
    pub(super) fn row(&self, key: &str) -> Result<&Row, String> {
        self.rows.iter().find(|row| row.key == key).ok_or_else(|| format!("no contest measured {key}"))
    }

    /// Ours ÷ the peer's in throughput; of several rows the worst.
    pub(super) fn ratio(&self, key: &str) -> Result<f64, String> {
        let rows = self.rows.iter().filter(|row| row.key == key);
        let worst = rows.filter_map(Row::ratio).min_by(f64::total_cmp);
        worst.map(rounded).ok_or_else(|| format!("no contest measured {key}"))
    }

    /// Both paths, as the object names them.
    pub(super) fn cpu_path(&self) -> String {
        format!("{}+{}", self.proofs_path, self.coding_path)
    }

    /// What a row should reach, if it should reach anything, with the instructions that are there: the goals were set for AVX-512 IFMA and GFNI.
    pub(super) fn goal(&self, row: &Row) -> Option<f64> {
        let fast = match row.key.as_str() {
            "rs_encode_vs_simd_accel" | "rs_reconstruct_vs_simd_accel" => self.coding_path == CODING_FAST,
            _ => self.proofs_path == PROOFS_FAST,
        };
        let goal = GOALS.iter().find(|goal| goal.key == row.key)?;
        Some(if fast { goal.fast } else { goal.plain })
    }
}

impl Row {
    /// Ours ÷ the peer's in throughput.
    pub(super) fn ratio(&self) -> Option<f64> {
        Some(self.peer? / self.ours)
    }

    /// GB/s of ours.
    pub(super) fn rate(&self) -> Result<f64, String> {
        let bytes = self.bytes.ok_or_else(|| format!("{} has no rate in bytes", self.key))?;
        Ok(bytes as f64 / self.ours / 1e9)
    }
}
