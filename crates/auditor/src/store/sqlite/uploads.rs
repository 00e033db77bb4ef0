//! Puts in progress: staged and receipted. Their commit is in [`commit`], their end without one in [`end`].

pub(super) mod commit;
pub(super) mod end;

use holdfast_protocol::{
    model::{Assignment, SealedWitness, StagedSegment, StagedSpan, UploadRow},
    store::{StoreReply, rules},
};
use holdfast_types::{NodeId, OwnerId, SegmentId, Sequence, ShardId, ShardIndex, UploadId, Wall};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    codec::{Result, bytes, code, int, maybe_uint, small, text, uint},
    rows::{self, account, claimed, sequence_taken, withdraw_deletion},
    witnesses,
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
    let Some(upload) = own(db, row.id, row.owner).await? else {
        return Ok(StoreReply::Conflict("the upload id is taken; draw another".into()));
    };
    let counted = sqlx::query("SELECT COUNT(*) AS segments FROM segment WHERE upload = ? AND committed = 0")
        .bind(&row.id.0[..])
        .fetch_one(db)
        .await?;
    Ok(StoreReply::Begun { upload, segments: uint(&counted, "segments")? })
}

pub(super) async fn staged(
    db: &mut SqliteConnection,
    id: UploadId,
    owner: OwnerId,
    after: Option<(u64, SegmentId)>,
    limit: u32,
) -> Result<StoreReply> {
    match own(db, id, owner).await? {
        Some(row) => Ok(StoreReply::Upload(row, page_of(db, id, after, limit).await?)),
        None => Ok(StoreReply::NotFound),
    }
}

pub(super) async fn staged_one(
    db: &mut SqliteConnection,
    id: UploadId,
    owner: OwnerId,
    segment: SegmentId,
) -> Result<StoreReply> {
    match own(db, id, owner).await? {
        Some(row) => Ok(StoreReply::Upload(row, one_of(db, id, segment).await?.into_iter().collect())),
        None => Ok(StoreReply::NotFound),
    }
}

pub(super) async fn staged_spans(db: &mut SqliteConnection, id: UploadId, owner: OwnerId) -> Result<StoreReply> {
    match own(db, id, owner).await? {
        Some(row) => Ok(StoreReply::Spans(row, spans_of(db, id).await?)),
        None => Ok(StoreReply::NotFound),
    }
}

pub(super) async fn own(db: &mut SqliteConnection, id: UploadId, owner: OwnerId) -> Result<Option<UploadRow>> {
    let row = sqlx::query("SELECT * FROM upload WHERE id = ? AND owner = ? AND given_up = 0")
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

/// Uncommitted segments of an upload, by (offset, id).
async fn page_of(
    db: &mut SqliteConnection,
    id: UploadId,
    after: Option<(u64, SegmentId)>,
    limit: u32,
) -> Result<Vec<StagedSegment>> {
    // No segment starts before byte 0: without `after`, everything does.
    let (offset, segment) = match after {
        Some((offset, segment)) => (int(offset)?, segment.0.to_vec()),
        None => (-1, Vec::new()),
    };
    let found = sqlx::query(
        "SELECT * FROM segment WHERE upload = ?1 AND committed = 0 AND (upload_offset, id) > (?2, ?3)
         ORDER BY upload_offset, id LIMIT ?4",
    )
    .bind(&id.0[..])
    .bind(offset)
    .bind(segment)
    .bind(rows::bounded(limit))
    .fetch_all(&mut *db)
    .await?;
    let mut staged = Vec::with_capacity(found.len());
    for row in &found {
        staged.push(with_assignments(db, row).await?);
    }
    Ok(staged)
}

/// One uncommitted segment of an upload.
pub(super) async fn one_of(
    db: &mut SqliteConnection,
    id: UploadId,
    segment: SegmentId,
) -> Result<Option<StagedSegment>> {
    let found = sqlx::query("SELECT * FROM segment WHERE id = ? AND upload = ? AND committed = 0")
        .bind(&segment.0[..])
        .bind(&id.0[..])
        .fetch_optional(&mut *db)
        .await?;
    match &found {
        Some(row) => Ok(Some(with_assignments(db, row).await?)),
        None => Ok(None),
    }
}

async fn with_assignments(db: &mut SqliteConnection, row: &SqliteRow) -> Result<StagedSegment> {
    let segment = rows::segment(row)?;
    let assignments = assignments_of(db, segment.id).await?;
    let upload = UploadId(bytes(row, "upload")?);
    Ok(StagedSegment { upload, offset: uint(row, "upload_offset")?, segment, assignments })
}

/// What a commit looks at of an upload's segments, by (offset, id).
pub(super) async fn spans_of(db: &mut SqliteConnection, id: UploadId) -> Result<Vec<StagedSpan>> {
    let found = sqlx::query(
        "SELECT id, upload_offset, len,
                (SELECT COUNT(sequence) FROM assignment WHERE assignment.segment = segment.id) AS held
         FROM segment WHERE upload = ? AND committed = 0 ORDER BY upload_offset, id LIMIT ?",
    )
    .bind(&id.0[..])
    .bind(rules::UPLOAD_SEGMENTS_MAX as i64 + 1)
    .fetch_all(db)
    .await?;
    let span = |row: &SqliteRow| {
        Ok(StagedSpan {
            offset: uint(row, "upload_offset")?,
            segment: SegmentId(bytes(row, "id")?),
            len: uint(row, "len")?,
            held: small(row, "held")?,
        })
    };
    found.iter().map(span).collect()
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

pub(super) async fn stage(
    db: &mut SqliteConnection,
    staged: &StagedSegment,
    expires: Wall,
    sealed: &[SealedWitness],
) -> Result<StoreReply> {
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
    if known.is_none()
        && let Some(why) = rules::room_fault(staged_so_far(db, upload.id).await?)
    {
        return Ok(StoreReply::Conflict(why));
    }
    let listed = witnesses::lists(db, id).await?;
    let fault = rules::stage_fault(&upload, known.as_ref(), staged);
    let fault = fault.or_else(|| rules::witness_fault(&staged.segment, sealed));
    if let Some(why) = fault.or_else(|| rules::list_fault(&listed, rules::given_lists(sealed))) {
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
    witnesses::stage(db, id, sealed).await?;
    sqlx::query("UPDATE upload SET expires = ?, segments = segments + ? WHERE id = ?")
        .bind(int(expires.0)?)
        .bind(i64::from(found.is_none()))
        .bind(&staged.upload.0[..])
        .execute(db)
        .await?;
    Ok(StoreReply::Done)
}

async fn staged_so_far(db: &mut SqliteConnection, upload: UploadId) -> Result<u64> {
    uint(&sqlx::query("SELECT segments FROM upload WHERE id = ?").bind(&upload.0[..]).fetch_one(db).await?, "segments")
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
    let found = sqlx::query("SELECT committed FROM upload WHERE id = ? AND given_up = 0")
        .bind(&upload.0[..])
        .fetch_optional(&mut *db)
        .await?;
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
