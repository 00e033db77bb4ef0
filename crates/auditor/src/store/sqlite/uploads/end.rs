//! Uploads that end without a commit, or after it: so many segments in a transaction, for nobody else writes meanwhile.

use holdfast_protocol::{
    model::{DeletionRow, StagedSegment},
    store::{StoreReply, rules::DROPPED_AT_ONCE},
};
use holdfast_types::{OwnerId, UploadId, Wall};
use sqlx::SqliteConnection;

use super::page_of;
use crate::store::sqlite::{
    codec::{Result, bytes, int},
    rows::drop_copy,
};

pub(in crate::store::sqlite) async fn expire(db: &mut SqliteConnection, now: Wall) -> Result<StoreReply> {
    let late = sqlx::query("SELECT id FROM upload WHERE given_up = 1 OR expires < ? ORDER BY id LIMIT ?")
        .bind(int(now.0)?)
        .bind(DROPPED_AT_ONCE as i64 + 1)
        .fetch_all(&mut *db)
        .await?;
    let mut room = DROPPED_AT_ONCE;
    for row in &late {
        if room == 0 {
            return Ok(StoreReply::More);
        }
        match drop_some(db, UploadId(bytes(row, "id")?), now, room).await? {
            Some(left) => room = left,
            None => return Ok(StoreReply::More),
        }
    }
    Ok(StoreReply::Done)
}

pub(in crate::store::sqlite) async fn abort(
    db: &mut SqliteConnection,
    id: UploadId,
    owner: OwnerId,
    at: Wall,
) -> Result<StoreReply> {
    let found = sqlx::query("SELECT 1 FROM upload WHERE id = ? AND owner = ? AND committed = 0")
        .bind(&id.0[..])
        .bind(&owner.0[..])
        .fetch_optional(&mut *db)
        .await?;
    if found.is_none() {
        return Ok(StoreReply::Done);
    }
    match drop_some(db, id, at, DROPPED_AT_ONCE).await? {
        Some(_) => Ok(StoreReply::Done),
        None => Ok(StoreReply::More),
    }
}

/// Drops so many of an upload's segments, and the upload with the last of them; what room is left then.
async fn drop_some(db: &mut SqliteConnection, id: UploadId, due: Wall, room: usize) -> Result<Option<usize>> {
    let page = page_of(db, id, None, room as u32).await?;
    for staged in &page {
        drop_staged(db, staged, due).await?;
    }
    if page.len() == room {
        sqlx::query("UPDATE upload SET given_up = 1 WHERE id = ?").bind(&id.0[..]).execute(db).await?;
        return Ok(None);
    }
    // Its id may be drawn again: what it committed must not look like the next one's.
    sqlx::query("UPDATE segment SET upload = x'' WHERE upload = ?").bind(&id.0[..]).execute(&mut *db).await?;
    sqlx::query("DELETE FROM upload WHERE id = ?").bind(&id.0[..]).execute(db).await?;
    Ok(Some(room - page.len() - 1))
}

/// Forgets a staged segment and queues whatever of it may lie on nodes.
pub(super) async fn drop_staged(db: &mut SqliteConnection, staged: &StagedSegment, due: Wall) -> Result<()> {
    let segment = &staged.segment;
    sqlx::query("DELETE FROM segment WHERE id = ?").bind(&segment.id.0[..]).execute(&mut *db).await?;
    for assignment in &staged.assignments {
        let row = DeletionRow { node: assignment.node, shard: assignment.shard, owner: segment.owner, due };
        drop_copy(db, &row, segment.shard_len).await?;
    }
    Ok(())
}
