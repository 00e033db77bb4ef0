//! Audits in flight, verdicts, and the standings that verdicts change.

use holdfast_protocol::{
    model::{AuditRow, Exception, Standing, Verdict},
    store::{StandingChange, StoreReply},
};
use holdfast_types::{AuditId, ByteRange, Millis, NodeId, Seed, SegmentId, ShardId, ShardIndex, VerdictId, Wall};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    codec::{
        Result, blob, bytes, cause, cause_word, damaged, int, lane, lane_word, maybe_uint, narrow, outcome,
        outcome_word, runs, runs_to_bytes, small, standing, standing_columns, uint,
    },
    rows::bounded,
};

pub(super) async fn open(db: &mut SqliteConnection, row: &AuditRow) -> Result<StoreReply> {
    let found = sqlx::query("SELECT * FROM audit WHERE id = ?").bind(&row.id.0[..]).fetch_optional(&mut *db).await?;
    if let Some(found) = found {
        if audit(&found)? == *row {
            return Ok(StoreReply::Done);
        }
        return Ok(StoreReply::Conflict(format!("audit {} is open with another challenge", row.id)));
    }
    sqlx::query("INSERT INTO audit (id, node, lane, seed, runs, digest, opened) VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(&row.id.0[..])
        .bind(&row.node.0[..])
        .bind(lane_word(row.lane))
        .bind(&row.seed.0[..])
        .bind(runs_to_bytes(&row.runs))
        .bind(&row.set_digest[..])
        .bind(int(row.opened.0)?)
        .execute(db)
        .await?;
    Ok(StoreReply::Done)
}

pub(super) async fn close(
    db: &mut SqliteConnection,
    verdict: &Verdict,
    changes: &[StandingChange],
) -> Result<StoreReply> {
    let closed = sqlx::query("DELETE FROM audit WHERE id = ?").bind(&verdict.audit.0[..]).execute(&mut *db).await?;
    if closed.rows_affected() == 0 {
        return Ok(StoreReply::Conflict(format!("audit {} is not open", verdict.audit)));
    }
    for change in changes {
        apply_change(db, change).await?;
    }
    Ok(StoreReply::Verdict(add_verdict(db, verdict).await?))
}

async fn apply_change(db: &mut SqliteConnection, change: &StandingChange) -> Result<()> {
    let found = sqlx::query(
        "SELECT standing, damaged, len FROM placement WHERE segment = ? AND idx = ? AND node = ? AND sequence = ?",
    )
    .bind(&change.segment.0[..])
    .bind(i64::from(change.index.0))
    .bind(&change.node.0[..])
    .bind(int(change.sequence.0)?)
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = found else {
        return Ok(());
    };
    let before = standing(&row)?;
    let next = before.after(&change.standing, uint(&row, "len")?);
    if next == before {
        return Ok(());
    }
    let (word, ranges) = standing_columns(&next);
    sqlx::query("UPDATE placement SET standing = ?, damaged = ?, version = version + 1 WHERE segment = ? AND idx = ?")
        .bind(word)
        .bind(ranges)
        .bind(&change.segment.0[..])
        .bind(i64::from(change.index.0))
        .execute(db)
        .await?;
    Ok(())
}

async fn add_verdict(db: &mut SqliteConnection, verdict: &Verdict) -> Result<VerdictId> {
    let added = sqlx::query(
        "INSERT INTO verdict (audit, node, lane, outcome, at, took, shards, bytes, evidence)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&verdict.audit.0[..])
    .bind(&verdict.node.0[..])
    .bind(lane_word(verdict.lane))
    .bind(outcome_word(verdict.outcome))
    .bind(int(verdict.at.0)?)
    .bind(int(verdict.took.0)?)
    .bind(i64::from(verdict.shards))
    .bind(int(verdict.bytes)?)
    .bind(&verdict.evidence[..])
    .execute(&mut *db)
    .await?;
    let id = added.last_insert_rowid();
    for (place, exception) in verdict.exceptions.iter().enumerate() {
        sqlx::query(
            "INSERT INTO exception (verdict, place, shard, segment, idx, outcome, cause, range_start, range_end)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(int(place as u64)?)
        .bind(&exception.shard.as_bytes()[..])
        .bind(&exception.segment.0[..])
        .bind(i64::from(exception.index.0))
        .bind(outcome_word(exception.outcome))
        .bind(exception.cause.map(cause_word))
        .bind(exception.range.map(|range| int(range.start())).transpose()?)
        .bind(exception.range.map(|range| int(range.end())).transpose()?)
        .execute(&mut *db)
        .await?;
    }
    sqlx::query("UPDATE node SET judged = MAX(COALESCE(judged, 0), ?) WHERE id = ?")
        .bind(int(verdict.at.0)?)
        .bind(&verdict.node.0[..])
        .execute(db)
        .await?;
    Ok(VerdictId(id))
}

pub(super) async fn lose_node(db: &mut SqliteConnection, mut verdict: Verdict) -> Result<StoreReply> {
    let rows = sqlx::query(
        "SELECT segment, idx, shard FROM placement WHERE node = ? AND standing <> 'lost' ORDER BY sequence, segment, idx",
    )
    .bind(&verdict.node.0[..])
    .fetch_all(&mut *db)
    .await?;
    verdict.exceptions.clear();
    for row in &rows {
        verdict.exceptions.push(Exception {
            shard: ShardId::from_bytes(bytes(row, "shard")?),
            segment: SegmentId(bytes(row, "segment")?),
            index: ShardIndex(small(row, "idx")?),
            outcome: verdict.outcome,
            cause: None,
            range: None,
        });
    }
    let (word, ranges) = standing_columns(&Standing::Lost);
    sqlx::query(
        "UPDATE placement SET standing = ?, damaged = ?, version = version + 1 WHERE node = ? AND standing <> 'lost'",
    )
    .bind(word)
    .bind(ranges)
    .bind(&verdict.node.0[..])
    .execute(&mut *db)
    .await?;
    sqlx::query("UPDATE assignment SET sequence = NULL WHERE node = ?")
        .bind(&verdict.node.0[..])
        .execute(&mut *db)
        .await?;
    sqlx::query("DELETE FROM audit WHERE id = ?").bind(&verdict.audit.0[..]).execute(&mut *db).await?;
    Ok(StoreReply::Verdict(add_verdict(db, &verdict).await?))
}

pub(super) async fn all_open(db: &mut SqliteConnection) -> Result<StoreReply> {
    let rows = sqlx::query("SELECT * FROM audit ORDER BY id").fetch_all(db).await?;
    Ok(StoreReply::Audits(rows.iter().map(audit).collect::<Result<_>>()?))
}

pub(super) async fn one_open(db: &mut SqliteConnection, id: AuditId) -> Result<StoreReply> {
    let row = sqlx::query("SELECT * FROM audit WHERE id = ?").bind(&id.0[..]).fetch_optional(db).await?;
    match row {
        Some(row) => Ok(StoreReply::Audits(vec![audit(&row)?])),
        None => Ok(StoreReply::NotFound),
    }
}

fn audit(row: &SqliteRow) -> Result<AuditRow> {
    Ok(AuditRow {
        id: AuditId(bytes(row, "id")?),
        node: NodeId(bytes(row, "node")?),
        lane: lane(row, "lane")?,
        seed: Seed(bytes(row, "seed")?),
        runs: runs(row)?,
        set_digest: bytes(row, "digest")?,
        opened: Wall(uint(row, "opened")?),
    })
}

pub(super) async fn after(
    db: &mut SqliteConnection,
    after: VerdictId,
    node: Option<NodeId>,
    limit: u32,
) -> Result<StoreReply> {
    let rows = match node {
        Some(node) => {
            let sql = "SELECT * FROM verdict WHERE node = ? AND id > ? ORDER BY id LIMIT ?";
            sqlx::query(sql).bind(node.0.to_vec()).bind(after.0).bind(bounded(limit)).fetch_all(&mut *db).await?
        }
        None => {
            let sql = "SELECT * FROM verdict WHERE id > ? ORDER BY id LIMIT ?";
            sqlx::query(sql).bind(after.0).bind(bounded(limit)).fetch_all(&mut *db).await?
        }
    };
    with_exceptions(db, rows).await
}

pub(super) async fn latest(db: &mut SqliteConnection, node: Option<NodeId>, limit: u32) -> Result<StoreReply> {
    let rows = match node {
        Some(node) => {
            let sql = "SELECT * FROM verdict WHERE node = ? ORDER BY id DESC LIMIT ?";
            sqlx::query(sql).bind(node.0.to_vec()).bind(bounded(limit)).fetch_all(&mut *db).await?
        }
        None => {
            let sql = "SELECT * FROM verdict ORDER BY id DESC LIMIT ?";
            sqlx::query(sql).bind(bounded(limit)).fetch_all(&mut *db).await?
        }
    };
    with_exceptions(db, rows).await
}

async fn with_exceptions(db: &mut SqliteConnection, rows: Vec<SqliteRow>) -> Result<StoreReply> {
    let mut verdicts = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = uint(row, "id")?;
        let exceptions = sqlx::query("SELECT * FROM exception WHERE verdict = ? ORDER BY place")
            .bind(int(id)?)
            .fetch_all(&mut *db)
            .await?;
        verdicts.push(Verdict {
            id: VerdictId(int(id)?),
            audit: AuditId(bytes(row, "audit")?),
            node: NodeId(bytes(row, "node")?),
            lane: lane(row, "lane")?,
            outcome: outcome(row, "outcome")?,
            at: Wall(uint(row, "at")?),
            took: Millis(uint(row, "took")?),
            shards: narrow(row, "shards")?,
            bytes: uint(row, "bytes")?,
            exceptions: exceptions.iter().map(exception).collect::<Result<_>>()?,
            evidence: blob(row, "evidence")?,
        });
    }
    Ok(StoreReply::Verdicts(verdicts))
}

fn exception(row: &SqliteRow) -> Result<Exception> {
    let range = match (maybe_uint(row, "range_start")?, maybe_uint(row, "range_end")?) {
        (Some(start), Some(end)) => {
            Some(ByteRange::new(start, end).ok_or_else(|| damaged("range", "a range", (start, end)))?)
        }
        _ => None,
    };
    Ok(Exception {
        shard: ShardId::from_bytes(bytes(row, "shard")?),
        segment: SegmentId(bytes(row, "segment")?),
        index: ShardIndex(small(row, "idx")?),
        outcome: outcome(row, "outcome")?,
        cause: cause(row)?,
        range,
    })
}
