//! Puts in progress: staged, receipted, expired. Their commit is in [`commit`].

pub(super) mod commit;

use holdfast_protocol::{
    model::{Assignment, DeletionRow, StagedSegment, UploadRow},
    store::{StoreReply, rules},
};
use holdfast_types::{NodeId, OwnerId, SegmentId, Sequence, ShardId, ShardIndex, UploadId, Wall};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    codec::{Result, bytes, code, int, maybe_uint, small, text, uint},
    rows::{self, account, claimed, drop_copy, sequence_taken, withdraw_deletion},
};

pub(super) async fn begin(db: &mut SqliteConnection, row: &UploadRow) -> Result<StoreReply> {
    sqlx::query(
        "INSERT INTO upload (id, owner, policy, k, m, write_threshold, repair_threshold, expires)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&row.id.0[..])
    .bind(&row.owner.0[..])
    .bind(&row.policy)
    .bind(i64::from(row.code.data()))
    .bind(i64::from(row.code.parity()))
    .bind(i64::from(row.write_threshold))
    .bind(i64::from(row.repair_threshold))
    .bind(int(row.expires.0)?)
    .execute(&mut *db)
    .await?;
    match get(db, row.id, row.owner).await? {
        StoreReply::NotFound => Ok(StoreReply::Conflict("the upload id is taken; draw another".into())),
        found => Ok(found),
    }
}

pub(super) async fn get(db: &mut SqliteConnection, id: UploadId, owner: OwnerId) -> Result<StoreReply> {
    match own(db, id, owner).await? {
        Some(row) => {
            let staged = staged_of(db, id).await?;
            Ok(StoreReply::Upload(row, staged))
        }
        None => Ok(StoreReply::NotFound),
    }
}

pub(super) async fn own(db: &mut SqliteConnection, id: UploadId, owner: OwnerId) -> Result<Option<UploadRow>> {
    let row = sqlx::query("SELECT * FROM upload WHERE id = ? AND owner = ?")
        .bind(&id.0[..])
        .bind(&owner.0[..])
        .fetch_optional(db)
        .await?;
    row.as_ref().map(upload).transpose()
}

fn upload(row: &SqliteRow) -> Result<UploadRow> {
    Ok(UploadRow {
        id: UploadId(bytes(row, "id")?),
        owner: OwnerId(bytes(row, "owner")?),
        policy: text(row, "policy")?,
        code: code(row)?,
        write_threshold: small(row, "write_threshold")?,
        repair_threshold: small(row, "repair_threshold")?,
        expires: Wall(uint(row, "expires")?),
        committed: row.try_get::<i64, _>("committed")? != 0,
    })
}

/// Uncommitted segments of an upload, by offset.
pub(super) async fn staged_of(db: &mut SqliteConnection, id: UploadId) -> Result<Vec<StagedSegment>> {
    let found = sqlx::query("SELECT * FROM segment WHERE upload = ? AND committed = 0 ORDER BY upload_offset, id")
        .bind(&id.0[..])
        .fetch_all(&mut *db)
        .await?;
    let mut staged = Vec::with_capacity(found.len());
    for row in &found {
        let segment = rows::segment(row)?;
        let assignments = assignments_of(db, segment.id).await?;
        staged.push(StagedSegment { upload: id, offset: uint(row, "upload_offset")?, segment, assignments });
    }
    Ok(staged)
}

async fn assignments_of(db: &mut SqliteConnection, segment: SegmentId) -> Result<Vec<Assignment>> {
    let found = sqlx::query("SELECT * FROM assignment WHERE segment = ? ORDER BY idx")
        .bind(&segment.0[..])
        .fetch_all(db)
        .await?;
    let assignment = |row: &SqliteRow| {
        Ok(Assignment {
            index: ShardIndex(small(row, "idx")?),
            shard: ShardId::from_bytes(bytes(row, "shard")?),
            node: NodeId(bytes(row, "node")?),
            sequence: maybe_uint(row, "sequence")?.map(Sequence),
        })
    };
    found.iter().map(assignment).collect()
}

pub(super) async fn stage(db: &mut SqliteConnection, staged: &StagedSegment, expires: Wall) -> Result<StoreReply> {
    let Some(upload) = own(db, staged.upload, staged.segment.owner).await? else {
        return Ok(StoreReply::NotFound);
    };
    let id = staged.segment.id;
    let found = sqlx::query("SELECT * FROM segment WHERE id = ?").bind(&id.0[..]).fetch_optional(&mut *db).await?;
    let mut known = None;
    if let Some(row) = &found {
        let elsewhere = row.try_get::<i64, _>("committed")? != 0 || UploadId(bytes(row, "upload")?) != staged.upload;
        if elsewhere && !upload.committed {
            return Ok(StoreReply::Conflict(format!("segment id {id} is taken; draw another")));
        }
        known = Some(StagedSegment {
            upload: staged.upload,
            offset: uint(row, "upload_offset")?,
            segment: rows::segment(row)?,
            assignments: assignments_of(db, id).await?,
        });
    }
    if let Some(why) = rules::stage_fault(&upload, known.as_ref(), staged) {
        return Ok(StoreReply::Conflict(why));
    }
    let old = known.map_or_else(Vec::new, |known| known.assignments);
    if let Some(why) = assignment_fault(db, staged, &old).await? {
        return Ok(StoreReply::Conflict(why));
    }
    if found.is_none() {
        add_segment(db, staged).await?;
    }
    replace_assignments(db, staged, &old).await?;
    sqlx::query("UPDATE upload SET expires = ? WHERE id = ?")
        .bind(int(expires.0)?)
        .bind(&staged.upload.0[..])
        .execute(db)
        .await?;
    Ok(StoreReply::Done)
}

async fn assignment_fault(
    db: &mut SqliteConnection,
    staged: &StagedSegment,
    old: &[Assignment],
) -> Result<Option<String>> {
    let len = staged.segment.shard_len;
    for new in &staged.assignments {
        let is_ours = old.iter().any(|before| before.node == new.node && before.shard == new.shard);
        if !is_ours && claimed(db, new.node, &new.shard).await? {
            return Ok(Some(format!("node {} has a shard {} already", new.node, new.shard)));
        }
        let found = sqlx::query("SELECT MAX(0, capacity - used) AS room FROM node WHERE id = ?")
            .bind(&new.node.0[..])
            .fetch_optional(&mut *db)
            .await?;
        let Some(row) = found else {
            return Ok(Some(format!("node {} is not registered", new.node)));
        };
        let room = uint(&row, "room")?;
        if room < len && !old.iter().any(|before| before.node == new.node) {
            return Ok(Some(format!("node {} has {room} bytes free, needs {len}", new.node)));
        }
    }
    Ok(None)
}

async fn add_segment(db: &mut SqliteConnection, staged: &StagedSegment) -> Result<()> {
    let segment = &staged.segment;
    let names: Vec<u8> = segment.shards.iter().flat_map(|shard| *shard.as_bytes()).collect();
    sqlx::query(
        "INSERT INTO segment (id, upload, upload_offset, owner, root, len, k, m, shard_len, shards, repair_threshold,
                              secret_for_owner, secret_for_recovery)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&segment.id.0[..])
    .bind(&staged.upload.0[..])
    .bind(int(staged.offset)?)
    .bind(&segment.owner.0[..])
    .bind(&segment.root.as_bytes()[..])
    .bind(int(segment.len)?)
    .bind(i64::from(segment.code.data()))
    .bind(i64::from(segment.code.parity()))
    .bind(int(segment.shard_len)?)
    .bind(names)
    .bind(i64::from(segment.repair_threshold))
    .bind(&segment.secret_for_owner[..])
    .bind(&segment.secret_for_recovery[..])
    .execute(db)
    .await?;
    Ok(())
}

async fn replace_assignments(db: &mut SqliteConnection, staged: &StagedSegment, old: &[Assignment]) -> Result<()> {
    let id = staged.segment.id;
    let len = int(staged.segment.shard_len)?;
    sqlx::query("DELETE FROM assignment WHERE segment = ?").bind(&id.0[..]).execute(&mut *db).await?;
    for before in old {
        account(db, before.node, -len).await?;
    }
    for new in &staged.assignments {
        let kept = old.iter().find(|before| before.node == new.node && before.index == new.index);
        let sequence = kept.and_then(|before| before.sequence);
        sqlx::query("INSERT INTO assignment (segment, idx, shard, node, sequence) VALUES (?, ?, ?, ?, ?)")
            .bind(&id.0[..])
            .bind(i64::from(new.index.0))
            .bind(&new.shard.as_bytes()[..])
            .bind(&new.node.0[..])
            .bind(sequence.map(|sequence| int(sequence.0)).transpose()?)
            .execute(&mut *db)
            .await?;
        account(db, new.node, len).await?;
        withdraw_deletion(db, new.node, &new.shard).await?;
    }
    Ok(())
}

pub(super) async fn receipts(
    db: &mut SqliteConnection,
    upload: UploadId,
    segment: SegmentId,
    receipts: &[(ShardIndex, NodeId, Sequence)],
) -> Result<StoreReply> {
    let found =
        sqlx::query("SELECT committed FROM upload WHERE id = ?").bind(&upload.0[..]).fetch_optional(&mut *db).await?;
    match found {
        None => return Ok(StoreReply::NotFound),
        Some(row) if row.try_get::<i64, _>("committed")? != 0 => return Ok(StoreReply::Done),
        Some(_) => {}
    }
    let staged = sqlx::query("SELECT 1 FROM segment WHERE id = ? AND upload = ? AND committed = 0")
        .bind(&segment.0[..])
        .bind(&upload.0[..])
        .fetch_optional(&mut *db)
        .await?;
    if staged.is_none() {
        return Ok(StoreReply::NotFound);
    }
    for (index, node, sequence) in receipts {
        let named = sqlx::query("SELECT shard FROM assignment WHERE segment = ? AND idx = ? AND node = ?")
            .bind(&segment.0[..])
            .bind(i64::from(index.0))
            .bind(&node.0[..])
            .fetch_optional(&mut *db)
            .await?;
        let Some(row) = named else { continue };
        let shard = ShardId::from_bytes(bytes(&row, "shard")?);
        if sequence_taken(db, *node, *sequence, &shard).await? {
            continue;
        }
        sqlx::query("UPDATE assignment SET sequence = ? WHERE segment = ? AND idx = ?")
            .bind(int(sequence.0)?)
            .bind(&segment.0[..])
            .bind(i64::from(index.0))
            .execute(&mut *db)
            .await?;
    }
    Ok(StoreReply::Done)
}

pub(super) async fn expire(db: &mut SqliteConnection, now: Wall) -> Result<StoreReply> {
    let late = sqlx::query("SELECT id FROM upload WHERE expires < ?").bind(int(now.0)?).fetch_all(&mut *db).await?;
    for row in &late {
        drop_upload(db, UploadId(bytes(row, "id")?), now).await?;
    }
    Ok(StoreReply::Done)
}

pub(super) async fn abort(db: &mut SqliteConnection, id: UploadId, owner: OwnerId, at: Wall) -> Result<StoreReply> {
    if own(db, id, owner).await?.is_some_and(|upload| !upload.committed) {
        drop_upload(db, id, at).await?;
    }
    Ok(StoreReply::Done)
}

async fn drop_upload(db: &mut SqliteConnection, id: UploadId, due: Wall) -> Result<()> {
    for staged in staged_of(db, id).await? {
        drop_staged(db, &staged, due).await?;
    }
    // Its id may be drawn again: what it committed must not look like the next one's.
    sqlx::query("UPDATE segment SET upload = x'' WHERE upload = ?").bind(&id.0[..]).execute(&mut *db).await?;
    sqlx::query("DELETE FROM upload WHERE id = ?").bind(&id.0[..]).execute(db).await?;
    Ok(())
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
