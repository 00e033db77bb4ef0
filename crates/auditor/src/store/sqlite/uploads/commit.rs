//! A commit: an upload's segments and objects become the catalog's, all or nothing.

use std::collections::BTreeSet;

use holdfast_protocol::{
    model::{Placement, StagedSegment, Standing},
    store::{FENCE_NONE, NewObject, StoreReply, rules},
};
use holdfast_types::{OwnerId, SegmentId, UploadId, Wall};
use sqlx::SqliteConnection;

use super::{end::drop_staged, one_of, own, spans_of};
use crate::store::sqlite::{
    burials,
    codec::{Result, bytes, int},
    rows::account,
    segments::add_placement,
    witnesses,
};

pub(in crate::store::sqlite) async fn commit(
    db: &mut SqliteConnection,
    id: UploadId,
    owner: OwnerId,
    objects: &[NewObject],
    at: Wall,
) -> Result<StoreReply> {
    let Some(upload) = own(db, id, owner).await? else {
        return Ok(StoreReply::NotFound);
    };
    if upload.committed {
        return Ok(StoreReply::Committed { segments: committed_of(db, id).await? });
    }
    let staged = spans_of(db, id).await?;
    if let Some(why) = rules::commit_fault(&upload, &staged, objects) {
        return Ok(StoreReply::Conflict(why));
    }
    for object in objects {
        if burials::is_buried(db, object.row.id).await? {
            return Ok(StoreReply::Conflict(rules::tombstone_fault(object.row.id)));
        }
    }
    let mut used: BTreeSet<SegmentId> = BTreeSet::new();
    for object in objects {
        if add_object(db, owner, object).await? {
            used.extend(object.extents.iter().map(|extent| extent.segment));
        }
    }
    let mut segments = Vec::new();
    // One segment in memory at a time, however many there are.
    for span in &staged {
        let Some(segment) = one_of(db, id, span.segment).await? else { continue };
        if used.contains(&span.segment) {
            enter(db, &segment).await?;
            witnesses::enter(db, segment.segment.id, at).await?;
            segments.push(span.segment);
        } else {
            drop_staged(db, &segment, at).await?;
        }
    }
    sqlx::query("UPDATE upload SET committed = 1 WHERE id = ?").bind(&id.0[..]).execute(db).await?;
    Ok(StoreReply::Committed { segments })
}

async fn committed_of(db: &mut SqliteConnection, id: UploadId) -> Result<Vec<SegmentId>> {
    let rows = sqlx::query("SELECT id FROM segment WHERE upload = ? AND committed = 1 ORDER BY upload_offset, id")
        .bind(&id.0[..])
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| Ok(SegmentId(bytes(row, "id")?))).collect()
}

/// Whether it is new to its owner.
async fn add_object(db: &mut SqliteConnection, owner: OwnerId, object: &NewObject) -> Result<bool> {
    let row = &object.row;
    let added = sqlx::query(
        "INSERT INTO object (owner, id, name, sealed_len, plain_len, created, manifest, envelope)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, id) DO NOTHING",
    )
    .bind(&owner.0[..])
    .bind(&row.id.as_bytes()[..])
    .bind(&row.name)
    .bind(int(row.sealed_len)?)
    .bind(int(row.plain_len)?)
    .bind(int(row.created.0)?)
    .bind(&row.manifest[..])
    .bind(&row.envelope[..])
    .execute(&mut *db)
    .await?;
    if added.rows_affected() == 0 {
        return Ok(false);
    }
    for extent in &object.extents {
        sqlx::query("INSERT INTO extent (owner, object, at, segment, offset, len) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(&owner.0[..])
            .bind(&row.id.as_bytes()[..])
            .bind(int(extent.at)?)
            .bind(&extent.segment.0[..])
            .bind(int(extent.offset)?)
            .bind(int(extent.len)?)
            .execute(&mut *db)
            .await?;
    }
    for (root, page) in &object.pages {
        sqlx::query("INSERT OR REPLACE INTO page (owner, root, object, bytes) VALUES (?, ?, ?, ?)")
            .bind(&owner.0[..])
            .bind(&root[..])
            .bind(&row.id.as_bytes()[..])
            .bind(&page[..])
            .execute(&mut *db)
            .await?;
    }
    Ok(true)
}

/// Assignments with a receipt become placements; the others are owed to repair.
async fn enter(db: &mut SqliteConnection, staged: &StagedSegment) -> Result<()> {
    let segment = &staged.segment;
    sqlx::query("DELETE FROM assignment WHERE segment = ?").bind(&segment.id.0[..]).execute(&mut *db).await?;
    sqlx::query("UPDATE segment SET committed = 1 WHERE id = ?").bind(&segment.id.0[..]).execute(&mut *db).await?;
    for assignment in &staged.assignments {
        let Some(sequence) = assignment.sequence else {
            account(db, assignment.node, -int(segment.shard_len)?).await?;
            continue;
        };
        let placement = Placement {
            segment: segment.id,
            index: assignment.index,
            shard: assignment.shard,
            len: segment.shard_len,
            node: assignment.node,
            sequence,
            commitment: witnesses::first_commitment(db, segment.id, assignment.index).await?,
            standing: Standing::Good,
            version: 1,
            fence: FENCE_NONE,
        };
        add_placement(db, &placement).await?;
    }
    Ok(())
}
