//! Witnesses: staged with their segment, burnt once, gone when they have spoken.

use holdfast_protocol::{
    model::{
        CommitmentCounts, CommitmentState, Debt, NO_LIST, PendingShard, SEALED_WITNESS_MAX, SealedWitness, WitnessRow,
        WitnessState,
    },
    store::{StoreReply, rules},
    witness::WitnessId,
};
use holdfast_types::{NodeId, SegmentId, ShardId, ShardIndex, Wall};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    codec::{Result, blob, bytes, commitment_columns, damaged, int, maybe_bytes, maybe_uint, small, uint},
    rows::{self, bounded},
    segments::placement,
};

/// Of a segment that is only staged: of two for one shard the later counts, but a list stays.
pub(super) async fn stage(db: &mut SqliteConnection, segment: SegmentId, witnesses: &[SealedWitness]) -> Result<()> {
    let listed = lists(db, segment).await?;
    for witness in witnesses.iter().filter(|witness| listed.iter().all(|(index, _)| *index != witness.index)) {
        sqlx::query("INSERT OR REPLACE INTO witness (segment, idx, id, sealed, burnt) VALUES (?, ?, ?, ?, ?)")
            .bind(&segment.0[..])
            .bind(i64::from(witness.index.0))
            .bind(&witness.id.0[..])
            .bind(&witness.sealed[..])
            .bind(witness.list.map(|digest| digest.to_vec()))
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Digests that its witnesses are burnt with.
pub(super) async fn lists(db: &mut SqliteConnection, segment: SegmentId) -> Result<Vec<(ShardIndex, [u8; 32])>> {
    let found = sqlx::query(
        "SELECT idx, burnt FROM witness WHERE segment = ? AND burnt IS NOT NULL AND burnt <> ? ORDER BY idx",
    )
    .bind(&segment.0[..])
    .bind(&NO_LIST[..])
    .fetch_all(db)
    .await?;
    found.iter().map(|row| Ok((ShardIndex(small(row, "idx")?), bytes(row, "burnt")?))).collect()
}

pub(super) async fn named(db: &mut SqliteConnection, digests: Vec<[u8; 32]>) -> Result<StoreReply> {
    let mut named = Vec::new();
    for digest in digests {
        let sql = "SELECT 1 FROM placement WHERE digest = ?1 UNION ALL SELECT 1 FROM witness WHERE burnt = ?1 LIMIT 1";
        if sqlx::query(sql).bind(&digest[..]).fetch_optional(&mut *db).await?.is_some() {
            named.push(digest);
        }
    }
    Ok(StoreReply::Named(named))
}

/// The segment was committed.
pub(super) async fn enter(db: &mut SqliteConnection, segment: SegmentId, at: Wall) -> Result<()> {
    for sql in ["UPDATE witness SET since = ? WHERE segment = ?", "UPDATE placement SET since = ? WHERE segment = ?"] {
        sqlx::query(sql).bind(int(at.0)?).bind(&segment.0[..]).execute(&mut *db).await?;
    }
    Ok(())
}

/// From then on a placement's deadline counts.
pub(super) async fn pends_since(
    db: &mut SqliteConnection,
    segment: SegmentId,
    index: ShardIndex,
    at: Wall,
) -> Result<()> {
    let sql = "UPDATE placement SET since = ? WHERE segment = ? AND idx = ?";
    sqlx::query(sql).bind(int(at.0)?).bind(&segment.0[..]).bind(i64::from(index.0)).execute(db).await?;
    Ok(())
}

/// How a shard begins; what has spoken is gone.
pub(super) async fn first_commitment(
    db: &mut SqliteConnection,
    segment: SegmentId,
    index: ShardIndex,
) -> Result<CommitmentState> {
    let first = rules::first_commitment(witness(db, segment, index).await?.as_ref());
    if first != CommitmentState::Pending {
        forget(db, segment, index).await?;
    }
    Ok(first)
}

async fn forget(db: &mut SqliteConnection, segment: SegmentId, index: ShardIndex) -> Result<()> {
    let sql = "DELETE FROM witness WHERE segment = ? AND idx = ?";
    sqlx::query(sql).bind(&segment.0[..]).bind(i64::from(index.0)).execute(db).await?;
    Ok(())
}

/// Nobody knows any more whom their secrets were told; but for a catalog that had no epoch yet, which has no earlier self.
pub(super) async fn burn_all(db: &mut SqliteConnection) -> Result<()> {
    let sql = "UPDATE witness SET burnt = ? WHERE burnt IS NULL AND (SELECT epoch FROM meta) > 0";
    sqlx::query(sql).bind(&NO_LIST[..]).execute(db).await?;
    Ok(())
}

/// Columns of a witness beside those of its placement, under names of their own.
fn row(row: &SqliteRow) -> Result<Option<WitnessRow>> {
    let Some(id) = maybe_bytes(row, "witness")? else { return Ok(None) };
    let sealed = blob(row, "sealed")?;
    if sealed.len() > SEALED_WITNESS_MAX {
        return Err(damaged("sealed", "a sealed witness", sealed.len()));
    }
    let state = maybe_bytes(row, "burnt")?.map_or(WitnessState::Fresh, WitnessState::Burnt);
    let since = Wall(maybe_uint(row, "entered")?.unwrap_or(0));
    Ok(Some(WitnessRow { id: WitnessId(id), sealed, state, since }))
}

pub(super) async fn pending(
    db: &mut SqliteConnection,
    after: Option<(SegmentId, ShardIndex)>,
    limit: u32,
) -> Result<StoreReply> {
    let (segment, index) = after.map_or(([0; 16], -1), |(segment, index)| (segment.0, i64::from(index.0)));
    let found = sqlx::query(
        "SELECT p.*, p.since AS pending, w.id AS witness, w.sealed, w.burnt, w.since AS entered
         FROM placement p LEFT JOIN witness w ON w.segment = p.segment AND w.idx = p.idx
         WHERE p.digest IS NULL AND p.standing = 'good' AND (p.segment, p.idx) > (?, ?)
         ORDER BY p.segment, p.idx LIMIT ?",
    )
    .bind(&segment[..])
    .bind(index)
    .bind(bounded(limit))
    .fetch_all(db)
    .await?;
    let pending = |found: &SqliteRow| {
        let since = Wall(uint(found, "pending")?);
        Ok(PendingShard { placement: rows::placement(found)?, witness: row(found)?, since })
    };
    Ok(StoreReply::Pending(found.iter().map(pending).collect::<Result<_>>()?))
}

async fn witness(db: &mut SqliteConnection, segment: SegmentId, index: ShardIndex) -> Result<Option<WitnessRow>> {
    let sql = "SELECT id AS witness, sealed, burnt, since AS entered FROM witness WHERE segment = ? AND idx = ?";
    let found = sqlx::query(sql).bind(&segment.0[..]).bind(i64::from(index.0)).fetch_optional(db).await?;
    found.as_ref().map_or(Ok(None), row)
}

pub(super) async fn burn(
    db: &mut SqliteConnection,
    (segment, index): (SegmentId, ShardIndex),
    shard: ShardId,
    id: WitnessId,
    digest: [u8; 32],
) -> Result<StoreReply> {
    let Some(held) = placement(db, segment, index).await? else {
        return Ok(StoreReply::NotFound);
    };
    let Some(found) = witness(db, segment, index).await? else {
        return Ok(StoreReply::NotFound);
    };
    if let Some(why) = rules::name_fault(index, held.shard, shard) {
        return Ok(StoreReply::Conflict(why));
    }
    if let Some(why) = rules::burn_fault(held.commitment, &found, id) {
        return Ok(StoreReply::Conflict(why));
    }
    // The rule once more inside the statement: no second digest is ever written over the first.
    let burnt = sqlx::query("UPDATE witness SET burnt = ? WHERE segment = ? AND idx = ? AND id = ? AND burnt IS NULL")
        .bind(&digest[..])
        .bind(&segment.0[..])
        .bind(i64::from(index.0))
        .bind(&id.0[..])
        .execute(db)
        .await?;
    match burnt.rows_affected() {
        1 => Ok(StoreReply::Done),
        _ => Ok(StoreReply::Conflict(format!("witness {id} is burnt"))),
    }
}

pub(super) async fn set_commitment(
    db: &mut SqliteConnection,
    (segment, index): (SegmentId, ShardIndex),
    shard: ShardId,
    (expected, to): (CommitmentState, CommitmentState),
    at: Wall,
) -> Result<StoreReply> {
    let Some(found) = placement(db, segment, index).await? else {
        return Ok(StoreReply::NotFound);
    };
    if let Some(why) = rules::name_fault(index, found.shard, shard) {
        return Ok(StoreReply::Conflict(why));
    }
    if found.commitment != expected {
        return Ok(StoreReply::Conflict(format!("shard {index} of segment {segment} has another commitment by now")));
    }
    if let Some(why) = rules::acceptance_fault(to, witness(db, segment, index).await?.as_ref()) {
        return Ok(StoreReply::Conflict(why));
    }
    match to {
        CommitmentState::Accepted { .. } => forget(db, segment, index).await?,
        CommitmentState::Pending => pends_since(db, segment, index, at).await?,
    }
    let (digest, provenance) = commitment_columns(to);
    sqlx::query("UPDATE placement SET digest = ?, provenance = ?, version = version + 1 WHERE segment = ? AND idx = ?")
        .bind(digest)
        .bind(provenance)
        .bind(&segment.0[..])
        .bind(i64::from(index.0))
        .execute(db)
        .await?;
    Ok(StoreReply::Done)
}

pub(super) async fn debts(db: &mut SqliteConnection) -> Result<StoreReply> {
    let found = sqlx::query(
        "SELECT node, COUNT(*) AS shards, SUM(len) AS bytes FROM placement
         WHERE digest IS NULL AND standing = 'good' GROUP BY node ORDER BY node",
    )
    .fetch_all(db)
    .await?;
    let debt = |row: &SqliteRow| {
        Ok(Debt { node: NodeId(bytes(row, "node")?), shards: uint(row, "shards")?, bytes: uint(row, "bytes")? })
    };
    Ok(StoreReply::Debts(found.iter().map(debt).collect::<Result<_>>()?))
}

pub(super) async fn counts(db: &mut SqliteConnection) -> Result<StoreReply> {
    let owed = sqlx::query(
        "SELECT COUNT(*) AS pending, COALESCE(SUM(p.len), 0) AS bytes,
                COALESCE(SUM((p.len + ?1 - 1) / ?1), 0) AS blobs,
                COUNT(w.id) - COUNT(w.burnt) AS fresh, COUNT(w.burnt) AS burnt,
                MIN(COALESCE(NULLIF(p.since, 0), w.since)) AS oldest
         FROM placement p LEFT JOIN witness w ON w.segment = p.segment AND w.idx = p.idx
         WHERE p.digest IS NULL AND p.standing = 'good'",
    )
    .bind(int(holdfast_types::BLOB_LEN)?)
    .fetch_one(&mut *db)
    .await?;
    let mut counts = CommitmentCounts {
        pending: uint(&owed, "pending")?,
        bytes: uint(&owed, "bytes")?,
        blobs: uint(&owed, "blobs")?,
        fresh: uint(&owed, "fresh")?,
        burnt: uint(&owed, "burnt")?,
        oldest: maybe_uint(&owed, "oldest")?.map(Wall),
        ..CommitmentCounts::default()
    };
    let sql = "SELECT provenance, COUNT(*) AS shards FROM placement WHERE digest IS NOT NULL GROUP BY provenance";
    for row in sqlx::query(sql).fetch_all(db).await? {
        let shards = uint(&row, "shards")?;
        match row.try_get::<String, _>("provenance")?.as_str() {
            "auditor-read" => counts.auditor_read = shards,
            "client-witness" => counts.client_witness = shards,
            "link-sampled" => counts.link_sampled = shards,
            other => return Err(damaged("provenance", "a provenance", other)),
        }
    }
    Ok(StoreReply::Counts(counts))
}
