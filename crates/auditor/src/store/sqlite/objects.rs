//! Objects of owners: nobody sees another's.

use holdfast_protocol::{
    model::{DeletionRow, ExtentRow, ObjectRow},
    store::StoreReply,
};
use holdfast_types::{ObjectId, OwnerId, SegmentId, Wall};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    burials::{self, Mourned},
    codec::{Result, blob, bytes, int, text, uint},
    rows::{self, bounded, drop_copy},
};

pub(super) async fn get(db: &mut SqliteConnection, owner: OwnerId, id: ObjectId) -> Result<StoreReply> {
    let row = sqlx::query("SELECT * FROM object WHERE owner = ? AND id = ?")
        .bind(&owner.0[..])
        .bind(&id.as_bytes()[..])
        .fetch_optional(db)
        .await?;
    match row {
        Some(row) => {
            let brief = brief(&row)?;
            let (manifest, envelope) = (blob(&row, "manifest")?, blob(&row, "envelope")?);
            Ok(StoreReply::Object(Box::new(ObjectRow { manifest, envelope, ..brief })))
        }
        None => Ok(StoreReply::NotFound),
    }
}

pub(super) async fn list(
    db: &mut SqliteConnection,
    owner: OwnerId,
    after: Option<ObjectId>,
    limit: u32,
) -> Result<StoreReply> {
    // No id is all zeroes: it would be a BLAKE3 preimage of zero.
    let after = after.map_or([0; 32], |id| *id.as_bytes());
    let rows = sqlx::query(
        "SELECT owner, id, name, sealed_len, plain_len, created FROM object
         WHERE owner = ? AND id > ? ORDER BY id LIMIT ?",
    )
    .bind(&owner.0[..])
    .bind(&after[..])
    .bind(bounded(limit))
    .fetch_all(db)
    .await?;
    Ok(StoreReply::Objects(rows.iter().map(brief).collect::<Result<_>>()?))
}

fn brief(row: &SqliteRow) -> Result<ObjectRow> {
    Ok(ObjectRow {
        id: ObjectId::from_bytes(bytes(row, "id")?),
        owner: OwnerId(bytes(row, "owner")?),
        name: text(row, "name")?,
        sealed_len: uint(row, "sealed_len")?,
        plain_len: uint(row, "plain_len")?,
        created: Wall(uint(row, "created")?),
        manifest: Vec::new(),
        envelope: Vec::new(),
    })
}

async fn exists(db: &mut SqliteConnection, owner: OwnerId, id: ObjectId) -> Result<bool> {
    let found = sqlx::query("SELECT 1 FROM object WHERE owner = ? AND id = ?")
        .bind(&owner.0[..])
        .bind(&id.as_bytes()[..])
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
}

pub(super) async fn extents(
    db: &mut SqliteConnection,
    owner: OwnerId,
    id: ObjectId,
    from: u64,
    to: u64,
    limit: u32,
) -> Result<StoreReply> {
    if !exists(db, owner, id).await? {
        return Ok(StoreReply::NotFound);
    }
    // The last extent that starts at or before `from` is the only earlier one that can touch it.
    let rows = sqlx::query(
        "SELECT at, segment, offset, len FROM extent
         WHERE owner = ?1 AND object = ?2 AND at < ?4 AND at + len > ?3
           AND at >= COALESCE((SELECT MAX(at) FROM extent WHERE owner = ?1 AND object = ?2 AND at <= ?3), 0)
         ORDER BY at LIMIT ?5",
    )
    .bind(&owner.0[..])
    .bind(&id.as_bytes()[..])
    .bind(int(from.min(i64::MAX as u64))?)
    .bind(int(to.min(i64::MAX as u64))?)
    .bind(bounded(limit))
    .fetch_all(db)
    .await?;
    let extent = |row: &SqliteRow| {
        Ok(ExtentRow {
            at: uint(row, "at")?,
            segment: SegmentId(bytes(row, "segment")?),
            offset: uint(row, "offset")?,
            len: uint(row, "len")?,
        })
    };
    Ok(StoreReply::Extents(rows.iter().map(extent).collect::<Result<_>>()?))
}

pub(super) async fn page_roots(db: &mut SqliteConnection, owner: OwnerId, id: ObjectId) -> Result<StoreReply> {
    if !exists(db, owner, id).await? {
        return Ok(StoreReply::NotFound);
    }
    let found = sqlx::query("SELECT root FROM page WHERE owner = ? AND object = ? ORDER BY root")
        .bind(&owner.0[..])
        .bind(&id.as_bytes()[..])
        .fetch_all(&mut *db)
        .await?;
    let roots = found.iter().map(|row| bytes(row, "root")).collect::<Result<_>>()?;
    Ok(StoreReply::PageRoots(roots))
}

pub(super) async fn page(db: &mut SqliteConnection, owner: OwnerId, root: [u8; 32]) -> Result<StoreReply> {
    let row = sqlx::query("SELECT bytes FROM page WHERE owner = ? AND root = ? LIMIT 1")
        .bind(&owner.0[..])
        .bind(&root[..])
        .fetch_optional(db)
        .await?;
    match row {
        Some(row) => Ok(StoreReply::Page(blob(&row, "bytes")?)),
        None => Ok(StoreReply::NotFound),
    }
}

pub(super) async fn delete(
    db: &mut SqliteConnection,
    owner: OwnerId,
    id: ObjectId,
    tombstone: &[u8],
    at: Wall,
) -> Result<StoreReply> {
    let mourned = Mourned::read(db, owner, id).await?;
    let touched = sqlx::query("SELECT DISTINCT segment FROM extent WHERE owner = ? AND object = ?")
        .bind(&owner.0[..])
        .bind(&id.as_bytes()[..])
        .fetch_all(&mut *db)
        .await?;
    sqlx::query("DELETE FROM object WHERE owner = ? AND id = ?")
        .bind(&owner.0[..])
        .bind(&id.as_bytes()[..])
        .execute(&mut *db)
        .await?;
    burials::object(db, &mourned, tombstone, at).await?;
    for row in &touched {
        let segment = SegmentId(bytes(row, "segment")?);
        let kept = sqlx::query(
            "UPDATE segment SET revision = revision + 1 WHERE id = ?1 AND EXISTS
             (SELECT 1 FROM extent WHERE segment = ?1)",
        )
        .bind(&segment.0[..])
        .execute(&mut *db)
        .await?;
        if kept.rows_affected() == 0 {
            drop_segment(db, segment, owner, at).await?;
        }
    }
    Ok(StoreReply::Done)
}

async fn drop_segment(db: &mut SqliteConnection, segment: SegmentId, owner: OwnerId, due: Wall) -> Result<()> {
    let found =
        sqlx::query("SELECT * FROM placement WHERE segment = ?").bind(&segment.0[..]).fetch_all(&mut *db).await?;
    let placements = found.iter().map(rows::placement).collect::<Result<Vec<_>>>()?;
    burials::descriptor(db, segment, due).await?;
    for table in ["DELETE FROM lease WHERE segment = ?", "DELETE FROM segment WHERE id = ?"] {
        sqlx::query(table).bind(&segment.0[..]).execute(&mut *db).await?;
    }
    for placement in placements {
        let row = DeletionRow { node: placement.node, shard: placement.shard, owner, due };
        drop_copy(db, &row, placement.len).await?;
    }
    Ok(())
}
