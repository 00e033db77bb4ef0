//! Who holds what, and how it stands.

use holdfast_protocol::{
    model::{DeletionRow, Placement, SegmentView},
    store::{StoreReply, rules},
};
use holdfast_types::{Fence, NodeId, SegmentId, Sequence, ShardIndex, Wall};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    codec::{Result, commitment_columns, damaged, fence, int, standing_columns, uint},
    rows::{self, account, bounded, claimed, drop_copy, sequence_taken, withdraw_deletion},
    witnesses,
};

pub(super) async fn get(db: &mut SqliteConnection, id: SegmentId) -> Result<StoreReply> {
    let row = sqlx::query("SELECT * FROM segment WHERE id = ? AND committed = 1")
        .bind(&id.0[..])
        .fetch_optional(&mut *db)
        .await?;
    match row {
        Some(row) => Ok(StoreReply::Segment(Box::new(view(db, &row).await?))),
        None => Ok(StoreReply::NotFound),
    }
}

pub(super) async fn view(db: &mut SqliteConnection, row: &SqliteRow) -> Result<SegmentView> {
    let segment = rows::segment(row)?;
    let found = sqlx::query("SELECT * FROM placement WHERE segment = ? ORDER BY idx")
        .bind(&segment.id.0[..])
        .fetch_all(db)
        .await?;
    Ok(SegmentView { segment, placements: found.iter().map(rows::placement).collect::<Result<_>>()? })
}

pub(super) async fn at_risk(
    db: &mut SqliteConnection,
    after: Option<(i32, SegmentId)>,
    limit: u32,
) -> Result<StoreReply> {
    let (spare, id) = after.map_or((i32::MIN, [0; 16]), |(spare, id)| (spare, id.0));
    let found = sqlx::query(
        "SELECT * FROM segment WHERE committed = 1 AND good < k + m AND (good - k, id) > (?, ?)
         ORDER BY good - k, id LIMIT ?",
    )
    .bind(i64::from(spare))
    .bind(&id[..])
    .bind(bounded(limit))
    .fetch_all(&mut *db)
    .await?;
    let mut views = Vec::with_capacity(found.len());
    for row in &found {
        views.push(view(db, row).await?);
    }
    Ok(StoreReply::Segments(views))
}

/// The index on the spare answers it alone.
pub(super) async fn by_spare(db: &mut SqliteConnection) -> Result<StoreReply> {
    let sql = "SELECT good - k AS spare, COUNT(*) AS segments FROM segment WHERE committed = 1
               GROUP BY good - k ORDER BY good - k";
    let found = sqlx::query(sql).fetch_all(db).await?;
    let spare = |row: &SqliteRow| {
        let spare: i64 = row.try_get("spare")?;
        let spare = i32::try_from(spare).map_err(|_| damaged("spare", "a small number", spare))?;
        Ok((spare, uint(row, "segments")?))
    };
    Ok(StoreReply::Spares(found.iter().map(spare).collect::<Result<_>>()?))
}

fn placements(found: &[SqliteRow]) -> Result<StoreReply> {
    Ok(StoreReply::Placements(found.iter().map(rows::placement).collect::<Result<_>>()?))
}

pub(super) async fn of_node(db: &mut SqliteConnection, node: NodeId, from: Sequence, limit: u32) -> Result<StoreReply> {
    let sql = "SELECT * FROM placement WHERE node = ? AND sequence >= ? ORDER BY sequence, segment, idx LIMIT ?";
    let found = sqlx::query(sql).bind(&node.0[..]).bind(int(from.0)?).bind(bounded(limit)).fetch_all(db).await?;
    placements(&found)
}

pub(super) async fn placement(
    db: &mut SqliteConnection,
    segment: SegmentId,
    index: ShardIndex,
) -> Result<Option<Placement>> {
    let row = sqlx::query("SELECT * FROM placement WHERE segment = ? AND idx = ?")
        .bind(&segment.0[..])
        .bind(i64::from(index.0))
        .fetch_optional(db)
        .await?;
    row.as_ref().map(rows::placement).transpose()
}

pub(super) async fn set_sequence(
    db: &mut SqliteConnection,
    segment: SegmentId,
    index: ShardIndex,
    node: NodeId,
    sequence: Sequence,
) -> Result<StoreReply> {
    let Some(found) = placement(db, segment, index).await? else {
        return Ok(StoreReply::NotFound);
    };
    if found.node != node {
        return Ok(StoreReply::Conflict(format!("shard {index} of segment {segment} is on another node by now")));
    }
    if sequence_taken(db, node, sequence, &found.shard).await? {
        return Ok(StoreReply::Conflict(format!("node {node} has another shard under number {sequence}")));
    }
    sqlx::query("UPDATE placement SET sequence = ?, version = version + 1 WHERE segment = ? AND idx = ?")
        .bind(int(sequence.0)?)
        .bind(&segment.0[..])
        .bind(i64::from(index.0))
        .execute(db)
        .await?;
    Ok(StoreReply::Done)
}

pub(super) async fn place(db: &mut SqliteConnection, new: &Placement, expected: u64, at: Wall) -> Result<StoreReply> {
    let row = sqlx::query("SELECT * FROM segment WHERE id = ? AND committed = 1")
        .bind(&new.segment.0[..])
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = row else {
        return Ok(StoreReply::NotFound);
    };
    let view = view(db, &row).await?;
    let old = view.placements.iter().find(|placement| placement.index == new.index);
    if let Some(why) = place_fault(db, &view, old, new, expected, at).await? {
        return Ok(StoreReply::Conflict(why));
    }
    let moved = old.is_none_or(|old| old.node != new.node);
    sqlx::query("DELETE FROM placement WHERE segment = ? AND idx = ?")
        .bind(&new.segment.0[..])
        .bind(i64::from(new.index.0))
        .execute(&mut *db)
        .await?;
    add_placement(db, &Placement { version: expected + 1, ..new.clone() }).await?;
    witnesses::pends_since(db, new.segment, new.index, at).await?;
    if moved {
        account(db, new.node, int(new.len)?).await?;
        withdraw_deletion(db, new.node, &new.shard).await?;
        former_holder(db, "DELETE FROM former_holder WHERE segment = ? AND node = ?", new.segment, new.node).await?;
        if let Some(old) = old {
            let keeps = "INSERT OR IGNORE INTO former_holder (segment, node) VALUES (?, ?)";
            former_holder(db, keeps, new.segment, old.node).await?;
            let row = DeletionRow { node: old.node, shard: old.shard, owner: view.segment.owner, due: at };
            drop_copy(db, &row, old.len).await?;
        }
    }
    sqlx::query("UPDATE segment SET revision = revision + 1 WHERE id = ?").bind(&new.segment.0[..]).execute(db).await?;
    Ok(StoreReply::Done)
}

async fn former_holder(db: &mut SqliteConnection, query: &'static str, segment: SegmentId, node: NodeId) -> Result<()> {
    sqlx::query(query).bind(&segment.0[..]).bind(&node.0[..]).execute(db).await?;
    Ok(())
}

async fn place_fault(
    db: &mut SqliteConnection,
    view: &SegmentView,
    old: Option<&Placement>,
    new: &Placement,
    expected: u64,
    at: Wall,
) -> Result<Option<String>> {
    if let Some(why) = rules::shard_fault(&view.segment, new.index, &new.shard, new.len) {
        return Ok(Some(why));
    }
    let (version, stored) = old.map_or((0, Fence::default()), |old| (old.version, old.fence));
    if version != expected {
        return Ok(Some(format!("expected version {version}, got {expected}; read the segment again")));
    }
    let live = sqlx::query("SELECT epoch, counter FROM lease WHERE segment = ? AND expires > ?")
        .bind(&new.segment.0[..])
        .bind(int(at.0)?)
        .fetch_optional(&mut *db)
        .await?;
    let live = live.as_ref().map(|row| fence(row, "epoch", "counter")).transpose()?;
    if new.fence < stored || live != Some(new.fence) {
        return Ok(Some(format!("fence {} is not the segment's live lease; somebody else repairs it", new.fence)));
    }
    let known = sqlx::query("SELECT 1 FROM node WHERE id = ?").bind(&new.node.0[..]).fetch_optional(&mut *db).await?;
    if known.is_none() {
        return Ok(Some(format!("node {} is not registered", new.node)));
    }
    if view.placements.iter().any(|placement| placement.index != new.index && placement.node == new.node) {
        return Ok(Some(format!("node {} holds another shard of this segment", new.node)));
    }
    if sequence_taken(db, new.node, new.sequence, &new.shard).await? {
        return Ok(Some(format!("node {} has another shard under number {}", new.node, new.sequence)));
    }
    let moved = old.is_none_or(|old| old.node != new.node);
    if moved && claimed(db, new.node, &new.shard).await? {
        return Ok(Some(format!("node {} has a shard {} for somebody else", new.node, new.shard)));
    }
    Ok(None)
}

pub(super) async fn add_placement(db: &mut SqliteConnection, placement: &Placement) -> Result<()> {
    let (digest, provenance) = commitment_columns(placement.commitment);
    let (standing, ranges) = standing_columns(&placement.standing);
    sqlx::query(
        "INSERT INTO placement (segment, idx, shard, len, node, sequence, digest, provenance, standing, damaged,
                                version, fence_epoch, fence_counter)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&placement.segment.0[..])
    .bind(i64::from(placement.index.0))
    .bind(&placement.shard.as_bytes()[..])
    .bind(int(placement.len)?)
    .bind(&placement.node.0[..])
    .bind(int(placement.sequence.0)?)
    .bind(digest)
    .bind(provenance)
    .bind(standing)
    .bind(ranges)
    .bind(int(placement.version)?)
    .bind(int(placement.fence.epoch)?)
    .bind(int(placement.fence.counter)?)
    .execute(db)
    .await?;
    Ok(())
}
