//! Values in and out of SQLite's columns. What comes out is checked as strictly as what comes off
//! the wire: a catalog file can be damaged or written by a later version.

use holdfast_protocol::{
    message::{RUNS_MAX, SeqRun},
    model::{
        Cause, CommitmentState, DAMAGED_RANGES_MAX, Fault, Lane, NodeLife, Outcome, Provenance, RepairState, Standing,
    },
};
use holdfast_types::{ByteRange, Code, Fence, Sequence};
use sqlx::{Row, sqlite::SqliteRow};
use thiserror::Error;

/// Why an operation did not happen: our own trouble, never a caller's.
#[derive(Debug, Error)]
pub(crate) enum SqliteError {
    /// The database itself.
    #[error("the catalog database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A value no version of ours wrote there.
    #[error("the catalog holds {got} where {expected} was expected ({column}); restore it from a backup")]
    Damaged {
        /// Which column.
        column: &'static str,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// A number too large for SQLite's 63 bits.
    #[error("{0} does not fit the catalog's 63-bit numbers")]
    TooLarge(u64),
}

pub(crate) type Result<T> = std::result::Result<T, SqliteError>;

pub(crate) fn damaged(column: &'static str, expected: &'static str, got: impl std::fmt::Debug) -> SqliteError {
    SqliteError::Damaged { column, expected, got: format!("{got:?}").chars().take(80).collect() }
}

/// A number on its way in.
pub(crate) fn int(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| SqliteError::TooLarge(value))
}

/// A number on its way out.
pub(crate) fn uint(row: &SqliteRow, column: &'static str) -> Result<u64> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| damaged(column, "a number from 0", value))
}

pub(crate) fn small(row: &SqliteRow, column: &'static str) -> Result<u16> {
    let value: i64 = row.try_get(column)?;
    u16::try_from(value).map_err(|_| damaged(column, "a number below 65536", value))
}

pub(crate) fn narrow(row: &SqliteRow, column: &'static str) -> Result<u32> {
    let value: i64 = row.try_get(column)?;
    u32::try_from(value).map_err(|_| damaged(column, "a number below 2^32", value))
}

pub(crate) fn maybe_uint(row: &SqliteRow, column: &'static str) -> Result<Option<u64>> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| u64::try_from(value).map_err(|_| damaged(column, "a number from 0", value))).transpose()
}

pub(crate) fn blob(row: &SqliteRow, column: &'static str) -> Result<Vec<u8>> {
    Ok(row.try_get(column)?)
}

pub(crate) fn text(row: &SqliteRow, column: &'static str) -> Result<String> {
    Ok(row.try_get(column)?)
}

/// Fixed-length bytes: an id, a root, a digest.
pub(crate) fn bytes<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N]> {
    let value: Vec<u8> = row.try_get(column)?;
    value.as_slice().try_into().map_err(|_| damaged(column, "an id of fixed length", value.len()))
}

pub(crate) fn maybe_bytes<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<Option<[u8; N]>> {
    let value: Option<Vec<u8>> = row.try_get(column)?;
    value
        .map(|value| value.as_slice().try_into().map_err(|_| damaged(column, "an id of fixed length", value.len())))
        .transpose()
}

pub(crate) fn code(row: &SqliteRow) -> Result<Code> {
    let (data, parity) = (small(row, "k")?, small(row, "m")?);
    Code::new(data, parity).map_err(|error| damaged("k, m", "a code", error.to_string()))
}

pub(crate) fn fence(row: &SqliteRow, epoch: &'static str, counter: &'static str) -> Result<Fence> {
    Ok(Fence { epoch: uint(row, epoch)?, counter: uint(row, counter)? })
}

/// A closed list of words, both ways from one table.
macro_rules! words {
    ($to:ident, $from:ident, $type:ty, $column:literal, { $($value:pat => $make:expr, $word:literal;)* }) => {
        pub(crate) fn $to(value: $type) -> &'static str {
            match value { $($value => $word,)* }
        }
        pub(crate) fn $from(row: &SqliteRow, column: &'static str) -> Result<$type> {
            match text(row, column)?.as_str() {
                $($word => Ok($make),)*
                other => Err(damaged(column, $column, other)),
            }
        }
    };
}

words!(life_word, life, NodeLife, "a node's life", {
    NodeLife::Joining => NodeLife::Joining, "joining";
    NodeLife::Active => NodeLife::Active, "active";
    NodeLife::Contained => NodeLife::Contained, "contained";
    NodeLife::Suspended => NodeLife::Suspended, "suspended";
    NodeLife::Evicted => NodeLife::Evicted, "evicted";
    NodeLife::Draining => NodeLife::Draining, "draining";
    NodeLife::Left => NodeLife::Left, "left";
});

words!(lane_word, lane, Lane, "a lane", {
    Lane::Fold => Lane::Fold, "fold";
    Lane::Sample => Lane::Sample, "sample";
    Lane::Retrieve => Lane::Retrieve, "retrieve";
});

words!(outcome_word, outcome, Outcome, "an outcome", {
    Outcome::Held => Outcome::Held, "held";
    Outcome::Corrupt => Outcome::Corrupt, "corrupt";
    Outcome::Missing => Outcome::Missing, "missing";
    Outcome::Late => Outcome::Late, "late";
    Outcome::Unreachable => Outcome::Unreachable, "unreachable";
    Outcome::Refused => Outcome::Refused, "refused";
    Outcome::Inconclusive(Fault::Restarted) => Outcome::Inconclusive(Fault::Restarted), "inconclusive: restarted";
    Outcome::Inconclusive(Fault::SetDrift) => Outcome::Inconclusive(Fault::SetDrift), "inconclusive: set drift";
    Outcome::Inconclusive(Fault::Cancelled) => Outcome::Inconclusive(Fault::Cancelled), "inconclusive: cancelled";
    Outcome::Inconclusive(Fault::Internal) => Outcome::Inconclusive(Fault::Internal), "inconclusive: internal";
    Outcome::Inconclusive(Fault::Commitments) => Outcome::Inconclusive(Fault::Commitments), "inconclusive: commitments";
});

words!(repair_word, repair_state, RepairState, "a repair's state", {
    RepairState::Running => RepairState::Running, "running";
    RepairState::Done => RepairState::Done, "done";
    RepairState::Failed => RepairState::Failed, "failed";
});

pub(crate) fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Reported => "reported",
        Cause::Proven => "proven",
    }
}

pub(crate) fn cause(row: &SqliteRow) -> Result<Option<Cause>> {
    let word: Option<String> = row.try_get("cause")?;
    match word.as_deref() {
        None => Ok(None),
        Some("reported") => Ok(Some(Cause::Reported)),
        Some("proven") => Ok(Some(Cause::Proven)),
        Some(other) => Err(damaged("cause", "reported or proven", other)),
    }
}

/// (digest, provenance) columns of a commitment.
pub(crate) fn commitment_columns(state: CommitmentState) -> (Option<Vec<u8>>, Option<&'static str>) {
    match state {
        CommitmentState::Pending => (None, None),
        CommitmentState::Accepted { digest, provenance } => {
            let word = match provenance {
                Provenance::AuditorRead => "auditor-read",
                Provenance::ClientWitness => "client-witness",
                Provenance::LinkSampled => "link-sampled",
            };
            (Some(digest.to_vec()), Some(word))
        }
    }
}

pub(crate) fn commitment(row: &SqliteRow) -> Result<CommitmentState> {
    let Some(digest) = maybe_bytes(row, "digest")? else {
        return Ok(CommitmentState::Pending);
    };
    let provenance = match text(row, "provenance")?.as_str() {
        "auditor-read" => Provenance::AuditorRead,
        "client-witness" => Provenance::ClientWitness,
        "link-sampled" => Provenance::LinkSampled,
        other => return Err(damaged("provenance", "a provenance", other)),
    };
    Ok(CommitmentState::Accepted { digest, provenance })
}

/// (standing, damaged) columns.
pub(crate) fn standing_columns(standing: &Standing) -> (&'static str, Option<Vec<u8>>) {
    match standing {
        Standing::Good => ("good", None),
        Standing::Lost => ("lost", None),
        Standing::Damaged(ranges) => {
            let pairs = ranges.iter().map(|range| (range.start(), range.end()));
            ("damaged", Some(pairs_to_bytes(pairs)))
        }
    }
}

pub(crate) fn standing(row: &SqliteRow) -> Result<Standing> {
    match text(row, "standing")?.as_str() {
        "good" => Ok(Standing::Good),
        "lost" => Ok(Standing::Lost),
        "damaged" => {
            let pairs = pairs_from_bytes("damaged", &blob(row, "damaged")?, DAMAGED_RANGES_MAX)?;
            let ranges = pairs.into_iter().map(|(start, end)| ByteRange::new(start, end));
            let ranges: Option<Vec<_>> = ranges.collect();
            ranges.map(Standing::Damaged).ok_or_else(|| damaged("damaged", "ranges that run forwards", ()))
        }
        other => Err(damaged("standing", "good, damaged or lost", other)),
    }
}

pub(crate) fn runs_to_bytes(runs: &[SeqRun]) -> Vec<u8> {
    pairs_to_bytes(runs.iter().map(|run| (run.from.0, run.to.0)))
}

pub(crate) fn runs(row: &SqliteRow) -> Result<Vec<SeqRun>> {
    let pairs = pairs_from_bytes("runs", &blob(row, "runs")?, RUNS_MAX)?;
    Ok(pairs.into_iter().map(|(from, to)| SeqRun { from: Sequence(from), to: Sequence(to) }).collect())
}

fn pairs_to_bytes(pairs: impl Iterator<Item = (u64, u64)>) -> Vec<u8> {
    pairs.flat_map(|(a, b)| [a.to_be_bytes(), b.to_be_bytes()].concat()).collect()
}

fn pairs_from_bytes(column: &'static str, bytes: &[u8], most: usize) -> Result<Vec<(u64, u64)>> {
    if !bytes.len().is_multiple_of(16) || bytes.len() / 16 > most {
        return Err(damaged(column, "pairs of 8-byte numbers", bytes.len()));
    }
    let word = |part: &[u8]| part.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    Ok(bytes.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..]))).collect())
}
