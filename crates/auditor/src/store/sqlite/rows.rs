//! Rows to values, and the few statements that several operations share.

use holdfast_protocol::{
    model::{DeletionRow, Placement, SegmentRow},
    store::ROWS_MAX,
};
use holdfast_types::{NodeId, OwnerId, SHARDS_MAX, SegmentId, SegmentRoot, Sequence, ShardId, ShardIndex};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::codec::{Result, blob, bytes, code, commitment, damaged, fence, int, small, standing, uint};

/// A caller's limit, bounded.
pub(super) fn bounded(limit: u32) -> i64 {
    i64::from(limit.min(ROWS_MAX))
}

pub(super) fn segment(row: &SqliteRow) -> Result<SegmentRow> {
    Ok(SegmentRow {
        id: SegmentId(bytes(row, "id")?),
        owner: OwnerId(bytes(row, "owner")?),
        root: SegmentRoot::from_bytes(bytes(row, "root")?),
        len: uint(row, "len")?,
        code: code(row)?,
        shard_len: uint(row, "shard_len")?,
        shards: shards(row)?,
        repair_threshold: small(row, "repair_threshold")?,
        secret_for_owner: blob(row, "secret_for_owner")?,
        secret_for_recovery: blob(row, "secret_for_recovery")?,
    })
}

pub(super) fn placement(row: &SqliteRow) -> Result<Placement> {
    Ok(Placement {
        segment: SegmentId(bytes(row, "segment")?),
        index: ShardIndex(small(row, "idx")?),
        shard: ShardId::from_bytes(bytes(row, "shard")?),
        len: uint(row, "len")?,
        node: NodeId(bytes(row, "node")?),
        sequence: Sequence(uint(row, "sequence")?),
        commitment: commitment(row)?,
        standing: standing(row)?,
        version: uint(row, "version")?,
        fence: fence(row, "fence_epoch", "fence_counter")?,
    })
}

/// Changes what is accounted to a node.
pub(super) async fn account(db: &mut SqliteConnection, node: NodeId, by: i64) -> Result<()> {
    sqlx::query("UPDATE node SET used = MAX(0, used + ?) WHERE id = ?").bind(by).bind(&node.0[..]).execute(db).await?;
    Ok(())
}

/// The names of a segment's shards, 32 bytes each.
fn shards(row: &SqliteRow) -> Result<Vec<ShardId>> {
    let all = blob(row, "shards")?;
    let (names, rest) = all.as_chunks::<32>();
    if !rest.is_empty() || names.len() > usize::from(SHARDS_MAX) {
        return Err(damaged("shards", "up to 256 names of 32 bytes", all.len()));
    }
    Ok(names.iter().map(|name| ShardId::from_bytes(*name)).collect())
}

/// Whether a placement or a live assignment names the shard on the node.
pub(super) async fn claimed(db: &mut SqliteConnection, node: NodeId, shard: &ShardId) -> Result<bool> {
    let found = sqlx::query(
        "SELECT 1 FROM placement WHERE node = ?1 AND shard = ?2
         UNION ALL SELECT 1 FROM assignment WHERE node = ?1 AND shard = ?2 LIMIT 1",
    )
    .bind(&node.0[..])
    .bind(&shard.as_bytes()[..])
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Whether another shard than this one has the number on the node. Lost placements do not count: a wiped node begins
/// to count anew.
pub(super) async fn sequence_taken(
    db: &mut SqliteConnection,
    node: NodeId,
    sequence: Sequence,
    shard: &ShardId,
) -> Result<bool> {
    let found = sqlx::query(
        "SELECT 1 FROM placement WHERE node = ?1 AND sequence = ?2 AND shard <> ?3 AND standing <> 'lost'
         UNION ALL SELECT 1 FROM assignment WHERE node = ?1 AND sequence = ?2 AND shard <> ?3 LIMIT 1",
    )
    .bind(&node.0[..])
    .bind(int(sequence.0)?)
    .bind(&shard.as_bytes()[..])
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Something names the shard there: it is not to be deleted any more.
pub(super) async fn withdraw_deletion(db: &mut SqliteConnection, node: NodeId, shard: &ShardId) -> Result<()> {
    sqlx::query("DELETE FROM deletion WHERE node = ? AND shard = ?")
        .bind(&node.0[..])
        .bind(&shard.as_bytes()[..])
        .execute(db)
        .await?;
    Ok(())
}

/// Queues a copy for deletion unless something names it there; of one queued already the earlier due stays. Call it
/// after the row that named it is gone.
pub(super) async fn queue_deletion(db: &mut SqliteConnection, row: &DeletionRow) -> Result<()> {
    if claimed(db, row.node, &row.shard).await? {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO deletion (node, shard, owner, due) VALUES (?, ?, ?, ?)
         ON CONFLICT (node, shard) DO UPDATE SET due = MIN(due, excluded.due)",
    )
    .bind(&row.node.0[..])
    .bind(&row.shard.as_bytes()[..])
    .bind(&row.owner.0[..])
    .bind(int(row.due.0)?)
    .execute(db)
    .await?;
    Ok(())
}

/// A shard leaves a node: its bytes are freed, its copy is queued.
pub(super) async fn drop_copy(db: &mut SqliteConnection, row: &DeletionRow, len: u64) -> Result<()> {
    account(db, row.node, -int(len)?).await?;
    queue_deletion(db, row).await
}
