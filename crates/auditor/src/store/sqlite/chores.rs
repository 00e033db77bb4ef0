//! What is owed to the nodes (deletions, records), and the numbers of the status page.

use holdfast_protocol::{
    message::{RecordKind, SetEntry},
    model::{DeletionRow, ExtentRow},
    store::{OwedRecord, ROWS_MAX, SegmentRecords, StoreReply, Summary, Undescribed, rules},
};
use holdfast_types::{NodeId, ObjectId, OwnerId, SegmentId, ShardId, Wall};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    burials,
    codec::{Result, blob, bytes, damaged, int, uint},
    rows::{bounded, claimed, queue_deletion},
    segments,
};

pub(super) async fn due(
    db: &mut SqliteConnection,
    now: Wall,
    after: Option<(NodeId, ShardId)>,
    limit: u32,
) -> Result<StoreReply> {
    let (node, shard) = after.map_or((Vec::new(), Vec::new()), |(n, s)| (n.0.to_vec(), s.as_bytes().to_vec()));
    let found =
        sqlx::query("SELECT * FROM deletion WHERE due <= ? AND (node, shard) > (?, ?) ORDER BY node, shard LIMIT ?")
            .bind(int(now.0)?)
            .bind(node)
            .bind(shard)
            .bind(bounded(limit))
            .fetch_all(db)
            .await?;
    Ok(StoreReply::Deletions(found.iter().map(deletion).collect::<Result<_>>()?))
}

fn deletion(row: &SqliteRow) -> Result<DeletionRow> {
    Ok(DeletionRow {
        node: NodeId(bytes(row, "node")?),
        shard: ShardId::from_bytes(bytes(row, "shard")?),
        owner: OwnerId(bytes(row, "owner")?),
        due: Wall(uint(row, "due")?),
    })
}

pub(super) async fn owed_deletions(db: &mut SqliteConnection, shards: &[ShardId]) -> Result<StoreReply> {
    let mut owed: Vec<DeletionRow> = Vec::new();
    for shard in shards {
        let found = sqlx::query("SELECT * FROM deletion WHERE shard = ? ORDER BY node LIMIT ?")
            .bind(&shard.as_bytes()[..])
            .bind(bounded(ROWS_MAX))
            .fetch_all(&mut *db)
            .await?;
        owed.extend(found.iter().map(deletion).collect::<Result<Vec<_>>>()?);
    }
    owed.sort_by_key(|row| (row.node, row.shard));
    owed.truncate(ROWS_MAX as usize);
    Ok(StoreReply::Deletions(owed))
}

pub(super) async fn queue(db: &mut SqliteConnection, orphans: &[DeletionRow]) -> Result<StoreReply> {
    for row in orphans {
        queue_deletion(db, row).await?;
    }
    Ok(StoreReply::Done)
}

pub(super) async fn deleted(db: &mut SqliteConnection, node: NodeId, shard: ShardId) -> Result<StoreReply> {
    super::rows::withdraw_deletion(db, node, &shard).await?;
    Ok(StoreReply::Done)
}

pub(super) async fn unknown(db: &mut SqliteConnection, node: NodeId, entries: Vec<SetEntry>) -> Result<StoreReply> {
    let mut out = Vec::new();
    for entry in entries {
        let queued = sqlx::query("SELECT 1 FROM deletion WHERE node = ? AND shard = ?")
            .bind(&node.0[..])
            .bind(&entry.shard.as_bytes()[..])
            .fetch_optional(&mut *db)
            .await?;
        if queued.is_none() && !claimed(db, node, &entry.shard).await? {
            out.push(entry);
        }
    }
    Ok(StoreReply::Entries(out))
}

pub(super) async fn undescribed(db: &mut SqliteConnection, limit: u32) -> Result<StoreReply> {
    let found = sqlx::query("SELECT * FROM segment WHERE committed = 1 AND described < revision ORDER BY id LIMIT ?")
        .bind(bounded(limit))
        .fetch_all(&mut *db)
        .await?;
    let mut out = Vec::with_capacity(found.len());
    for row in &found {
        let view = segments::view(db, row).await?;
        let extents = sqlx::query(
            "SELECT object, at, segment, offset, len FROM extent WHERE segment = ? ORDER BY offset, object",
        )
        .bind(&view.segment.id.0[..])
        .fetch_all(&mut *db)
        .await?;
        let extents = extents.iter().map(extent).collect::<Result<_>>()?;
        let (revision, described) = (uint(row, "revision")?, uint(row, "described")?);
        out.push(Undescribed { view, revision, described, extents });
    }
    Ok(StoreReply::Undescribed(out))
}

fn extent(row: &SqliteRow) -> Result<(ObjectId, ExtentRow)> {
    let extent = ExtentRow {
        at: uint(row, "at")?,
        segment: SegmentId(bytes(row, "segment")?),
        offset: uint(row, "offset")?,
        len: uint(row, "len")?,
    };
    Ok((ObjectId::from_bytes(bytes(row, "object")?), extent))
}

pub(super) async fn owe(db: &mut SqliteConnection, owed: SegmentRecords) -> Result<StoreReply> {
    let SegmentRecords { segment, revision, records, described, at } = owed;
    let found = sqlx::query("SELECT revision FROM segment WHERE id = ? AND committed = 1")
        .bind(&segment.0[..])
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = found else { return Ok(StoreReply::NotFound) };
    let is = uint(&row, "revision")?;
    if is != revision {
        return Ok(StoreReply::Conflict(rules::revision_fault(segment, revision, is)));
    }
    for record in &records {
        burials::withdraw(db, (record.kind, record.key, record.node)).await?;
        sqlx::query("INSERT OR REPLACE INTO owed_record (node, kind, key, bytes) VALUES (?, ?, ?, ?)")
            .bind(&record.node.0[..])
            .bind(record.kind as i64)
            .bind(&record.key[..])
            .bind(&record.bytes[..])
            .execute(&mut *db)
            .await?;
    }
    if let Some(pages) = described {
        burials::pages(db, segment, &pages, at).await?;
        sqlx::query("UPDATE segment SET described = ?, pages = ? WHERE id = ?")
            .bind(int(revision)?)
            .bind(pages.as_flattened())
            .bind(&segment.0[..])
            .execute(&mut *db)
            .await?;
    }
    Ok(StoreReply::Done)
}

pub(super) async fn owed(
    db: &mut SqliteConnection,
    after: Option<(NodeId, RecordKind, [u8; 32])>,
    limit: u32,
) -> Result<StoreReply> {
    let (node, last, key) =
        after.map_or((Vec::new(), 0, Vec::new()), |(n, k, key)| (n.0.to_vec(), k as i64, key.to_vec()));
    let found =
        sqlx::query("SELECT * FROM owed_record WHERE (node, kind, key) > (?, ?, ?) ORDER BY node, kind, key LIMIT ?")
            .bind(node)
            .bind(last)
            .bind(key)
            .bind(bounded(limit))
            .fetch_all(db)
            .await?;
    let record = |row: &SqliteRow| {
        Ok(OwedRecord {
            node: NodeId(bytes(row, "node")?),
            kind: record_kind(row)?,
            key: bytes(row, "key")?,
            bytes: blob(row, "bytes")?,
        })
    };
    Ok(StoreReply::Owed(found.iter().map(record).collect::<Result<_>>()?))
}

pub(super) fn record_kind(row: &SqliteRow) -> Result<RecordKind> {
    let number: i64 = row.try_get("kind")?;
    let kind = u8::try_from(number).ok().and_then(RecordKind::from_u8);
    kind.ok_or_else(|| damaged("kind", "a kind of record", number))
}

pub(super) async fn kept(
    db: &mut SqliteConnection,
    node: NodeId,
    kind: RecordKind,
    key: [u8; 32],
    digest: [u8; 32],
) -> Result<StoreReply> {
    let found = sqlx::query("SELECT bytes FROM owed_record WHERE node = ? AND kind = ? AND key = ?")
        .bind(&node.0[..])
        .bind(kind as i64)
        .bind(&key[..])
        .fetch_optional(&mut *db)
        .await?;
    if let Some(row) = found
        && merkle_cid::Root::of(&blob(&row, "bytes")?).0 == digest
    {
        sqlx::query("DELETE FROM owed_record WHERE node = ? AND kind = ? AND key = ?")
            .bind(&node.0[..])
            .bind(kind as i64)
            .bind(&key[..])
            .execute(db)
            .await?;
    }
    Ok(StoreReply::Done)
}

pub(super) async fn summary(db: &mut SqliteConnection) -> Result<StoreReply> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM object) AS objects,
                (SELECT COALESCE(SUM(plain_len), 0) FROM object) AS plain_bytes,
                (SELECT COUNT(*) FROM segment WHERE committed = 1) AS segments,
                (SELECT COUNT(*) FROM placement) AS placements,
                (SELECT COALESCE(SUM(good), 0) FROM segment WHERE committed = 1) AS good,
                (SELECT COUNT(*) FROM placement WHERE digest IS NULL AND standing = 'good') AS pending,
                (SELECT COALESCE(SUM(len), 0) FROM placement WHERE digest IS NULL AND standing = 'good') AS pending_bytes,
                (SELECT COUNT(*) FROM segment WHERE committed = 1 AND good < k + m) AS at_risk,
                (SELECT COUNT(*) FROM segment WHERE committed = 1 AND good - k < 0) AS unrecoverable,
                (SELECT COALESCE(MIN(good), 0) FROM segment WHERE committed = 1) AS worst_held,
                (SELECT COALESCE(MIN(good - k), 0) FROM segment WHERE committed = 1) AS worst_spare,
                (SELECT COUNT(*) FROM deletion) AS deletions,
                (SELECT COUNT(*) FROM owed_record) AS owed_records,
                (SELECT COUNT(*) FROM burial) AS burials,
                (SELECT COUNT(*) FROM upload WHERE committed = 0) AS uploads,
                epoch, counter
         FROM meta",
    )
    .fetch_one(db)
    .await?;
    let spare: i64 = row.try_get("worst_spare")?;
    Ok(StoreReply::Summary(Summary {
        objects: uint(&row, "objects")?,
        plain_bytes: uint(&row, "plain_bytes")?,
        segments: uint(&row, "segments")?,
        placements: uint(&row, "placements")?,
        good: uint(&row, "good")?,
        pending_commitments: uint(&row, "pending")?,
        pending_bytes: uint(&row, "pending_bytes")?,
        at_risk: uint(&row, "at_risk")?,
        unrecoverable: uint(&row, "unrecoverable")?,
        worst_held: super::codec::small(&row, "worst_held")?,
        worst_spare: i32::try_from(spare).map_err(|_| damaged("worst_spare", "a small number", spare))?,
        deletions: uint(&row, "deletions")?,
        owed_records: uint(&row, "owed_records")?,
        burials: uint(&row, "burials")?,
        uploads: uint(&row, "uploads")?,
        epoch: uint(&row, "epoch")?,
        counter: uint(&row, "counter")?,
    }))
}
