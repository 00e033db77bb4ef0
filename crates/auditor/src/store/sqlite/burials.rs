//! What becomes of the records of what was deleted: tombstones at once, and nothing at all in the end.

use holdfast_protocol::{
    message::{RecordKind, descriptor_key},
    store::StoreReply,
};
use holdfast_types::{NodeId, ObjectId, OwnerId, SegmentId, Wall};
use sqlx::SqliteConnection;

use super::{
    codec::{Result, blob, bytes, damaged, int, uint},
    rows::bounded,
};

/// Bytes of a segment id: a descriptor's key begins with it.
const SEGMENT_ID_LEN: usize = 16;

/// A record's name on a node.
type Name = (RecordKind, [u8; 32], NodeId);

/// An object's row as it was, of what the burial needs: read before the row goes.
pub(super) struct Mourned {
    owner: OwnerId,
    id: ObjectId,
    pages: Vec<[u8; 32]>,
    /// Where its first bytes lie, and its records with them; without bytes, nowhere.
    first: Option<SegmentId>,
}

impl Mourned {
    pub(super) async fn read(db: &mut SqliteConnection, owner: OwnerId, id: ObjectId) -> Result<Self> {
        let first = sqlx::query("SELECT segment FROM extent WHERE owner = ? AND object = ? ORDER BY at LIMIT 1")
            .bind(&owner.0[..])
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *db)
            .await?;
        let first = first.map(|row| bytes(&row, "segment").map(SegmentId)).transpose()?;
        let found = sqlx::query("SELECT root FROM page WHERE owner = ? AND object = ?")
            .bind(&owner.0[..])
            .bind(&id.as_bytes()[..])
            .fetch_all(db)
            .await?;
        let pages = found.iter().map(|row| bytes(row, "root")).collect::<Result<_>>()?;
        Ok(Self { owner, id, pages, first })
    }
}

/// Nodes that may keep records of a segment.
async fn record_holders(db: &mut SqliteConnection, segment: SegmentId) -> Result<Vec<NodeId>> {
    let found = sqlx::query(
        "SELECT node FROM placement WHERE segment = ?1 UNION SELECT node FROM former_holder WHERE segment = ?1",
    )
    .bind(&segment.0[..])
    .fetch_all(db)
    .await?;
    found.iter().map(|row| Ok(NodeId(bytes(row, "node")?))).collect()
}

async fn exists(db: &mut SqliteConnection, query: &'static str, first: &[u8], second: &[u8]) -> Result<bool> {
    Ok(sqlx::query(query).bind(first).bind(second).fetch_optional(db).await?.is_some())
}

/// What is owed under the name is not owed any more.
async fn drop_owed(db: &mut SqliteConnection, (kind, key, node): Name) -> Result<()> {
    sqlx::query("DELETE FROM owed_record WHERE node = ? AND kind = ? AND key = ?")
        .bind(&node.0[..])
        .bind(kind as i64)
        .bind(&key[..])
        .execute(db)
        .await?;
    Ok(())
}

async fn owe(db: &mut SqliteConnection, (kind, key, node): Name, record: &[u8]) -> Result<()> {
    sqlx::query("INSERT OR REPLACE INTO owed_record (node, kind, key, bytes) VALUES (?, ?, ?, ?)")
        .bind(&node.0[..])
        .bind(kind as i64)
        .bind(&key[..])
        .bind(record)
        .execute(db)
        .await?;
    Ok(())
}

async fn bury(db: &mut SqliteConnection, name: Name, at: Wall) -> Result<()> {
    drop_owed(db, name).await?;
    let (kind, key, node) = name;
    sqlx::query("INSERT OR REPLACE INTO burial (kind, key, node, at) VALUES (?, ?, ?, ?)")
        .bind(kind as i64)
        .bind(&key[..])
        .bind(&node.0[..])
        .bind(int(at.0)?)
        .execute(db)
        .await?;
    Ok(())
}

/// The record is owed again: it is not to go.
pub(super) async fn withdraw(db: &mut SqliteConnection, (kind, key, node): Name) -> Result<()> {
    sqlx::query("DELETE FROM burial WHERE kind = ? AND key = ? AND node = ?")
        .bind(kind as i64)
        .bind(&key[..])
        .bind(&node.0[..])
        .execute(db)
        .await?;
    Ok(())
}

/// The records of an object whose row is gone, and whose segments are not yet.
pub(super) async fn object(db: &mut SqliteConnection, gone: &Mourned, tombstone: &[u8], at: Wall) -> Result<()> {
    let (key, owner) = (*gone.id.as_bytes(), gone.owner);
    let Some(first) = gone.first else { return Ok(()) };
    if exists(db, "SELECT 1 FROM object WHERE id = ?1 AND owner <> ?2 LIMIT 1", &key, &owner.0).await? {
        return Ok(());
    }
    let mut pages = Vec::new();
    for root in &gone.pages {
        if !exists(db, "SELECT 1 FROM page WHERE owner = ?2 AND root = ?1 LIMIT 1", root, &owner.0).await? {
            pages.push(*root);
        }
    }
    for node in record_holders(db, first).await? {
        for root in &pages {
            bury(db, (RecordKind::Page, *root, node), at).await?;
        }
        for kind in [RecordKind::Manifest, RecordKind::Envelope] {
            match tombstone {
                [] => bury(db, (kind, key, node), at).await?,
                [..] => drop_owed(db, (kind, key, node)).await?,
            }
        }
        if !tombstone.is_empty() {
            let name = (RecordKind::Tombstone, key, node);
            bury(db, name, at).await?;
            owe(db, name, tombstone).await?;
        }
    }
    Ok(())
}

/// The descriptor of a segment that is about to go.
pub(super) async fn descriptor(db: &mut SqliteConnection, segment: SegmentId, at: Wall) -> Result<()> {
    pages(db, segment, &[], at).await?;
    for node in record_holders(db, segment).await? {
        bury(db, (RecordKind::Descriptor, descriptor_key(segment), node), at).await?;
    }
    Ok(())
}

/// Pages of a segment's last descriptor that the next one does not have.
pub(super) async fn pages(db: &mut SqliteConnection, segment: SegmentId, next: &[[u8; 32]], at: Wall) -> Result<()> {
    let row =
        sqlx::query("SELECT pages FROM segment WHERE id = ?").bind(&segment.0[..]).fetch_optional(&mut *db).await?;
    let last = row.map(|row| blob(&row, "pages")).transpose()?.unwrap_or_default();
    let (roots, rest) = last.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(damaged("pages", "whole roots of 32 bytes", rest.len()));
    }
    let left: Vec<[u8; 32]> = roots.iter().filter(|root| !next.contains(root)).copied().collect();
    if left.is_empty() {
        return Ok(());
    }
    for node in record_holders(db, segment).await? {
        for root in &left {
            bury(db, (RecordKind::Page, *root, node), at).await?;
        }
    }
    Ok(())
}

/// Whether a node may keep a tombstone of the object.
pub(super) async fn is_buried(db: &mut SqliteConnection, id: ObjectId) -> Result<bool> {
    let found = sqlx::query(
        "SELECT 1 FROM burial WHERE kind = 5 AND key = ?1
         UNION ALL SELECT 1 FROM owed_record WHERE kind = 5 AND key = ?1 LIMIT 1",
    )
    .bind(&id.as_bytes()[..])
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Whether the catalog needs a record of this name on any node.
async fn is_needed(db: &mut SqliteConnection, kind: RecordKind, key: &[u8; 32]) -> Result<bool> {
    let (id, padding) = key.split_at(SEGMENT_ID_LEN);
    match kind {
        // The key is the id, padded with zeros.
        RecordKind::Descriptor => {
            let padded = padding.iter().all(|byte| *byte == 0);
            let found = sqlx::query("SELECT 1 FROM segment WHERE id = ? AND committed = 1").bind(id);
            Ok(padded && found.fetch_optional(db).await?.is_some())
        }
        RecordKind::Manifest | RecordKind::Envelope => {
            let found = sqlx::query("SELECT 1 FROM object WHERE id = ? LIMIT 1").bind(&key[..]);
            Ok(found.fetch_optional(db).await?.is_some())
        }
        RecordKind::Page => Ok(true),
        // Where one is to lie, it is owed or buried.
        RecordKind::Tombstone => Ok(false),
    }
}

/// Buries those records of a node that nothing needs.
pub(super) async fn strays(
    db: &mut SqliteConnection,
    node: NodeId,
    kind: RecordKind,
    keys: &[[u8; 32]],
    at: Wall,
) -> Result<StoreReply> {
    for key in keys {
        if is_needed(db, kind, key).await? {
            continue;
        }
        sqlx::query(
            "INSERT OR IGNORE INTO burial (kind, key, node, at) SELECT ?1, ?2, ?3, ?4
             WHERE NOT EXISTS (SELECT 1 FROM owed_record WHERE node = ?3 AND kind = ?1 AND key = ?2)",
        )
        .bind(kind as i64)
        .bind(&key[..])
        .bind(&node.0[..])
        .bind(int(at.0)?)
        .execute(&mut *db)
        .await?;
    }
    Ok(StoreReply::Done)
}

/// Nodes that nobody waits for.
async fn gone(db: &mut SqliteConnection) -> Result<Vec<NodeId>> {
    let sql = "SELECT id FROM node WHERE life IN ('evicted', 'left') ORDER BY id";
    sqlx::query(sql).fetch_all(db).await?.iter().map(|row| Ok(NodeId(bytes(row, "id")?))).collect()
}

/// What is looked at and what is forgotten has a bound; what waits for a node that is away has none.
pub(super) async fn end(
    db: &mut SqliteConnection,
    before: Wall,
    after: Option<Name>,
    limit: u32,
) -> Result<StoreReply> {
    let gone = gone(db).await?;
    let mut room = bounded(limit);
    for node in &gone {
        let forgotten = sqlx::query(
            "DELETE FROM owed_record WHERE node = ?1 AND kind = 5 AND key IN
                (SELECT key FROM owed_record WHERE node = ?1 AND kind = 5 ORDER BY key LIMIT ?2)",
        )
        .bind(&node.0[..])
        .bind(room)
        .execute(&mut *db)
        .await?;
        room -= i64::try_from(forgotten.rows_affected()).unwrap_or(room);
    }
    let (kind, key, node) =
        after.map_or((0, Vec::new(), Vec::new()), |(kind, key, node)| (kind as i64, key.to_vec(), node.0.to_vec()));
    let page = sqlx::query(
        "SELECT kind, key, node, at <= ?1 AND (kind <> 5
                OR NOT EXISTS (SELECT 1 FROM owed_record o WHERE o.kind = 5 AND o.key = burial.key)) AS over
         FROM burial WHERE (kind, key, node) > (?2, ?3, ?4) ORDER BY kind, key, node LIMIT ?5",
    )
    .bind(int(before.0)?)
    .bind(kind)
    .bind(key)
    .bind(node)
    .bind(bounded(limit))
    .fetch_all(&mut *db)
    .await?;
    let mut last = None;
    for row in &page {
        let name = (super::chores::record_kind(row)?, bytes(row, "key")?, NodeId(bytes(row, "node")?));
        last = Some(name);
        if uint(row, "over")? == 0 {
            continue;
        }
        withdraw(db, name).await?;
        if !gone.contains(&name.2) {
            owe(db, name, &[]).await?;
        }
    }
    Ok(StoreReply::Burials(last.filter(|_| page.len() as i64 == bounded(limit))))
}
