//! The catalog in SQLite: WAL, `synchronous=FULL`, one writer. Every [`StoreOp`] is one transaction:
//! committed before its reply is given, rolled back on a conflict.

mod audits;
mod burials;
mod chores;
mod codec;
#[cfg(test)]
mod growth;
mod nodes;
mod objects;
mod repairs;
mod rows;
mod segments;
mod uploads;
mod witnesses;

use std::{path::Path, time::Duration};

use holdfast_protocol::store::{StoreOp, StoreReply};
use sqlx::{
    SqliteConnection, SqlitePool,
    migrate::MigrateError,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use thiserror::Error;
use tracing::error;

use codec::SqliteError;

/// Connections that read while the writer writes (WAL lets them): the API's.
const READERS: u32 = 2;

/// Why the catalog cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file or its directory.
    #[error("the catalog at {path} cannot be opened: {source}; it must be a file this user may read and write")]
    File {
        /// Where.
        path: String,
        /// SQLite's word.
        source: sqlx::Error,
    },
    /// A schema from a later version, or a damaged one.
    #[error(
        "the catalog at {path} cannot be brought to this version's schema: {source}; a later version may have written it"
    )]
    Schema {
        /// Where.
        path: String,
        /// The migration's word.
        source: MigrateError,
    },
}

/// The catalog's SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens or makes the catalog at `path` and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let shown = path.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let file = |source| OpenError::File { path: shown.clone(), source };
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(file)?;
        sqlx::migrate!("migrations/sqlite")
            .run(&writer)
            .await
            .map_err(|source| OpenError::Schema { path: shown.clone(), source })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await
            .map_err(file)?;
        Ok(Self { writer, readers })
    }

    /// Applies one operation. What the database itself cannot do is [`StoreReply::Failed`].
    pub async fn apply(&self, op: StoreOp) -> StoreReply {
        let done = if reads_only(&op) { self.read(op).await } else { self.write(op).await };
        done.unwrap_or_else(|failure| {
            error!(%failure, "catalog operation failed");
            StoreReply::Failed(failure.to_string())
        })
    }

    /// Closes the files; what was applied is durable with or without it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn read(&self, op: StoreOp) -> Result<StoreReply, SqliteError> {
        // A transaction, so that a reply of several queries is of one moment.
        let mut snapshot = self.readers.begin().await?;
        let reply = run(&mut snapshot, op).await;
        snapshot.rollback().await?;
        reply
    }

    async fn write(&self, op: StoreOp) -> Result<StoreReply, SqliteError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let reply = run(&mut transaction, op).await?;
        match reply {
            StoreReply::Conflict(_) | StoreReply::NotFound | StoreReply::Failed(_) => transaction.rollback().await?,
            _ => transaction.commit().await?,
        }
        Ok(reply)
    }
}

fn reads_only(op: &StoreOp) -> bool {
    matches!(
        op,
        StoreOp::Nodes
            | StoreOp::StagedSegments { .. }
            | StoreOp::StagedSegment { .. }
            | StoreOp::StagedSpans { .. }
            | StoreOp::Object { .. }
            | StoreOp::Objects { .. }
            | StoreOp::Extents { .. }
            | StoreOp::PageRoots { .. }
            | StoreOp::Page { .. }
            | StoreOp::Segment(_)
            | StoreOp::SegmentsAtRisk { .. }
            | StoreOp::PlacementsOfNode { .. }
            | StoreOp::PendingCommitments { .. }
            | StoreOp::CommitmentDebts
            | StoreOp::CommitmentCounts
            | StoreOp::WitnessedLists(_)
            | StoreOp::NamedLists(_)
            | StoreOp::OpenAudits
            | StoreOp::Audit(_)
            | StoreOp::Verdicts { .. }
            | StoreOp::LatestVerdicts { .. }
            | StoreOp::Repairs { .. }
            | StoreOp::Repair(_)
            | StoreOp::RunningRepairs
            | StoreOp::Undescribed { .. }
            | StoreOp::DueDeletions { .. }
            | StoreOp::OwedDeletions { .. }
            | StoreOp::Unknown { .. }
            | StoreOp::OwedRecords { .. }
            | StoreOp::SegmentsBySpare
            | StoreOp::Summary
    )
}

async fn run(db: &mut SqliteConnection, op: StoreOp) -> Result<StoreReply, SqliteError> {
    match op {
        StoreOp::RaiseEpoch { above } => nodes::raise_epoch(db, above).await,
        StoreOp::PutNode(node) => nodes::put(db, &node).await,
        StoreOp::Nodes => nodes::all(db).await,
        StoreOp::BeginUpload(row) => uploads::begin(db, &row).await,
        StoreOp::StagedSegments { id, owner, after, limit } => uploads::staged(db, id, owner, after, limit).await,
        StoreOp::StagedSegment { id, owner, segment } => uploads::staged_one(db, id, owner, segment).await,
        StoreOp::StagedSpans { id, owner } => uploads::staged_spans(db, id, owner).await,
        StoreOp::StageSegment { staged, expires, witnesses } => uploads::stage(db, &staged, expires, &witnesses).await,
        StoreOp::NoteReceipts { upload, segment, receipts } => uploads::receipts(db, upload, segment, &receipts).await,
        StoreOp::CommitUpload { id, owner, objects, at } => uploads::commit::commit(db, id, owner, &objects, at).await,
        StoreOp::ExpireUploads { now } => uploads::end::expire(db, now).await,
        StoreOp::AbortUpload { id, owner, at } => uploads::end::abort(db, id, owner, at).await,
        StoreOp::Object { owner, id } => objects::get(db, owner, id).await,
        StoreOp::Objects { owner, after, limit } => objects::list(db, owner, after, limit).await,
        StoreOp::Extents { owner, id, from, to, limit } => objects::extents(db, owner, id, from, to, limit).await,
        StoreOp::PageRoots { owner, id } => objects::page_roots(db, owner, id).await,
        StoreOp::Page { owner, root } => objects::page(db, owner, root).await,
        StoreOp::DeleteObject { owner, id, tombstone, at } => objects::delete(db, owner, id, &tombstone, at).await,
        StoreOp::Segment(id) => segments::get(db, id).await,
        StoreOp::SegmentsAtRisk { after, limit } => segments::at_risk(db, after, limit).await,
        StoreOp::PlacementsOfNode { node, from, limit } => segments::of_node(db, node, from, limit).await,
        StoreOp::PendingCommitments { after, limit } => witnesses::pending(db, after, limit).await,
        StoreOp::BurnWitness { segment, index, shard, id, digest } => {
            witnesses::burn(db, (segment, index), shard, id, digest).await
        }
        StoreOp::CommitmentDebts => witnesses::debts(db).await,
        StoreOp::CommitmentCounts => witnesses::counts(db).await,
        StoreOp::WitnessedLists(id) => Ok(StoreReply::Witnessed(witnesses::lists(db, id).await?)),
        StoreOp::NamedLists(digests) => witnesses::named(db, digests).await,
        StoreOp::SetCommitment { segment, index, shard, expected, to, at } => {
            witnesses::set_commitment(db, (segment, index), shard, (expected, to), at).await
        }
        StoreOp::SetSequence { segment, index, node, sequence } => {
            segments::set_sequence(db, segment, index, node, sequence).await
        }
        StoreOp::Place { placement, expected, at } => segments::place(db, &placement, expected, at).await,
        StoreOp::OpenAudit(row) => audits::open(db, &row).await,
        StoreOp::CloseAudit { verdict, changes } => audits::close(db, &verdict, &changes).await,
        StoreOp::OpenAudits => audits::all_open(db).await,
        StoreOp::Audit(id) => audits::one_open(db, id).await,
        StoreOp::Verdicts { after, node, limit } => audits::after(db, after, node, limit).await,
        StoreOp::LatestVerdicts { node, limit } => audits::latest(db, node, limit).await,
        StoreOp::LoseNode { verdict } => audits::lose_node(db, *verdict).await,
        StoreOp::AcquireLease { segment, now, ttl } => repairs::acquire(db, segment, now, ttl).await,
        StoreOp::RenewLease { lease, expires } => repairs::renew(db, lease, expires).await,
        StoreOp::ReleaseLease(lease) => repairs::release(db, lease).await,
        StoreOp::PutRepair(row) => repairs::put(db, &row).await,
        StoreOp::Repairs { limit } => repairs::list(db, limit).await,
        StoreOp::Repair(id) => repairs::get(db, id).await,
        StoreOp::RunningRepairs => repairs::running(db).await,
        StoreOp::DueDeletions { now, after, limit } => chores::due(db, now, after, limit).await,
        StoreOp::OwedDeletions { shards } => chores::owed_deletions(db, &shards).await,
        StoreOp::QueueDeletions(rows) => chores::queue(db, &rows).await,
        StoreOp::DeletionDone { node, shard } => chores::deleted(db, node, shard).await,
        StoreOp::Unknown { node, entries } => chores::unknown(db, node, entries).await,
        StoreOp::Undescribed { limit } => chores::undescribed(db, limit).await,
        StoreOp::OweRecords(owed) => chores::owe(db, *owed).await,
        StoreOp::BuryStrays { node, kind, keys, at } => burials::strays(db, node, kind, &keys, at).await,
        StoreOp::EndBurials { before, after, limit } => burials::end(db, before, after, limit).await,
        StoreOp::OwedRecords { after, limit } => chores::owed(db, after, limit).await,
        StoreOp::RecordKept { node, kind, key, digest } => chores::kept(db, node, kind, key, digest).await,
        StoreOp::SegmentsBySpare => segments::by_spare(db).await,
        StoreOp::Summary => chores::summary(db).await,
    }
}
