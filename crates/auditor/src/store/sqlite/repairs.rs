//! Leases, which order whoever repairs a segment, and the record of repairs.

use holdfast_protocol::{
    model::{Lease, RepairRow},
    store::StoreReply,
};
use holdfast_types::{Millis, NodeId, RepairId, SegmentId, ShardId, ShardIndex, Wall};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    codec::{Result, bytes, fence, int, maybe_bytes, maybe_uint, repair_state, repair_word, small, text, uint},
    rows::bounded,
};

pub(super) async fn acquire(
    db: &mut SqliteConnection,
    segment: SegmentId,
    now: Wall,
    ttl: Millis,
) -> Result<StoreReply> {
    let known = sqlx::query("SELECT 1 FROM segment WHERE id = ? AND committed = 1")
        .bind(&segment.0[..])
        .fetch_optional(&mut *db)
        .await?;
    if known.is_none() {
        return Ok(StoreReply::NotFound);
    }
    let live = sqlx::query("SELECT expires FROM lease WHERE segment = ? AND expires > ?")
        .bind(&segment.0[..])
        .bind(int(now.0)?)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(row) = live {
        let expires = uint(&row, "expires")?;
        return Ok(StoreReply::Conflict(format!("segment {segment} is leased for {} ms more", expires - now.0)));
    }
    let row = sqlx::query("UPDATE meta SET counter = counter + 1 RETURNING epoch, counter").fetch_one(&mut *db).await?;
    let lease = Lease { segment, fence: fence(&row, "epoch", "counter")?, expires: now + ttl };
    sqlx::query("INSERT OR REPLACE INTO lease (segment, epoch, counter, expires) VALUES (?, ?, ?, ?)")
        .bind(&segment.0[..])
        .bind(int(lease.fence.epoch)?)
        .bind(int(lease.fence.counter)?)
        .bind(int(lease.expires.0)?)
        .execute(db)
        .await?;
    Ok(StoreReply::Lease(lease))
}

pub(super) async fn renew(db: &mut SqliteConnection, lease: Lease, expires: Wall) -> Result<StoreReply> {
    let renewed = sqlx::query("UPDATE lease SET expires = ? WHERE segment = ? AND epoch = ? AND counter = ?")
        .bind(int(expires.0)?)
        .bind(&lease.segment.0[..])
        .bind(int(lease.fence.epoch)?)
        .bind(int(lease.fence.counter)?)
        .execute(db)
        .await?;
    if renewed.rows_affected() == 0 {
        return Ok(StoreReply::Conflict(format!(
            "the lease {} of segment {} is somebody else's",
            lease.fence, lease.segment
        )));
    }
    Ok(StoreReply::Lease(Lease { expires, ..lease }))
}

pub(super) async fn release(db: &mut SqliteConnection, lease: Lease) -> Result<StoreReply> {
    sqlx::query("DELETE FROM lease WHERE segment = ? AND epoch = ? AND counter = ?")
        .bind(&lease.segment.0[..])
        .bind(int(lease.fence.epoch)?)
        .bind(int(lease.fence.counter)?)
        .execute(db)
        .await?;
    Ok(StoreReply::Done)
}

pub(super) async fn put(db: &mut SqliteConnection, row: &RepairRow) -> Result<StoreReply> {
    sqlx::query(
        "INSERT INTO repair (id, segment, idx, shard, from_node, to_node, state, fence_epoch, fence_counter, started,
                             ended, bytes, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (id) DO UPDATE SET segment = ?2, idx = ?3, shard = ?4, from_node = ?5, to_node = ?6, state = ?7,
             fence_epoch = ?8, fence_counter = ?9, started = ?10, ended = ?11, bytes = ?12, reason = ?13",
    )
    .bind(&row.id.0[..])
    .bind(&row.segment.0[..])
    .bind(i64::from(row.index.0))
    .bind(&row.shard.as_bytes()[..])
    .bind(row.from.map(|node| node.0.to_vec()))
    .bind(&row.to.0[..])
    .bind(repair_word(row.state))
    .bind(int(row.fence.epoch)?)
    .bind(int(row.fence.counter)?)
    .bind(int(row.started.0)?)
    .bind(row.ended.map(|at| int(at.0)).transpose()?)
    .bind(int(row.bytes)?)
    .bind(&row.reason)
    .execute(db)
    .await?;
    Ok(StoreReply::Done)
}

pub(super) async fn list(db: &mut SqliteConnection, limit: u32) -> Result<StoreReply> {
    let rows = sqlx::query("SELECT * FROM repair ORDER BY started DESC, id DESC LIMIT ?")
        .bind(bounded(limit))
        .fetch_all(db)
        .await?;
    Ok(StoreReply::Repairs(rows.iter().map(from_row).collect::<Result<_>>()?))
}

pub(super) async fn get(db: &mut SqliteConnection, id: RepairId) -> Result<StoreReply> {
    let row = sqlx::query("SELECT * FROM repair WHERE id = ?").bind(&id.0[..]).fetch_optional(db).await?;
    match row {
        Some(row) => Ok(StoreReply::Repairs(vec![from_row(&row)?])),
        None => Ok(StoreReply::NotFound),
    }
}

pub(super) async fn running(db: &mut SqliteConnection) -> Result<StoreReply> {
    let rows = sqlx::query("SELECT * FROM repair WHERE state = 'running' ORDER BY id LIMIT ?")
        .bind(bounded(u32::MAX))
        .fetch_all(db)
        .await?;
    Ok(StoreReply::Repairs(rows.iter().map(from_row).collect::<Result<_>>()?))
}

fn from_row(row: &SqliteRow) -> Result<RepairRow> {
    Ok(RepairRow {
        id: RepairId(bytes(row, "id")?),
        segment: SegmentId(bytes(row, "segment")?),
        index: ShardIndex(small(row, "idx")?),
        shard: ShardId::from_bytes(bytes(row, "shard")?),
        from: maybe_bytes(row, "from_node")?.map(NodeId),
        to: NodeId(bytes(row, "to_node")?),
        state: repair_state(row, "state")?,
        fence: fence(row, "fence_epoch", "fence_counter")?,
        started: Wall(uint(row, "started")?),
        ended: maybe_uint(row, "ended")?.map(Wall),
        bytes: uint(row, "bytes")?,
        reason: text(row, "reason")?,
    })
}
