//! Nodes and the catalog's epoch.

use holdfast_protocol::{
    model::{Containment, NodeRow},
    store::StoreReply,
};
use holdfast_types::{AuditId, Incarnation, NodeId, PublicKey, VolumeId, Wall, ZoneName};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    codec::{Result, bytes, damaged, int, life, life_word, maybe_uint, text, uint},
    witnesses,
};

pub(super) async fn raise_epoch(db: &mut SqliteConnection, above: u64) -> Result<StoreReply> {
    witnesses::burn_all(db).await?;
    // The counter starts anew: fences order by epoch first.
    let row = sqlx::query("UPDATE meta SET epoch = MAX(epoch, ?) + 1, counter = 0 RETURNING epoch")
        .bind(int(above)?)
        .fetch_one(db)
        .await?;
    Ok(StoreReply::Epoch(uint(&row, "epoch")?))
}

pub(super) async fn put(db: &mut SqliteConnection, node: &NodeRow) -> Result<StoreReply> {
    let found =
        sqlx::query("SELECT version FROM node WHERE id = ?").bind(&node.id.0[..]).fetch_optional(&mut *db).await?;
    let stored = found.map(|row| uint(&row, "version")).transpose()?.unwrap_or(0);
    if stored != node.version {
        return Ok(StoreReply::Conflict(format!("node {} is at version {stored}, not {}", node.id, node.version)));
    }
    let containment = node.containment.as_ref().map(pack_containment);
    sqlx::query(
        "INSERT INTO node (id, key, addresses, zone, operator, life, containment, volume, incarnation, capacity,
                           joined, seen, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 + 1)
         ON CONFLICT (id) DO UPDATE SET key = ?2, addresses = ?3, zone = ?4, operator = ?5, life = ?6,
             containment = ?7, volume = ?8, incarnation = ?9, capacity = ?10, joined = ?11, seen = ?12,
             version = ?13 + 1",
    )
    .bind(&node.id.0[..])
    .bind(&node.key.0[..])
    .bind(node.addresses.join("\n"))
    .bind(&node.zone.0)
    .bind(&node.operator)
    .bind(life_word(node.life))
    .bind(containment)
    .bind(&node.volume.0[..])
    .bind(&node.incarnation.0[..])
    .bind(int(node.capacity)?)
    .bind(int(node.joined.0)?)
    .bind(int(node.seen.0)?)
    .bind(int(node.version)?)
    .execute(&mut *db)
    .await?;
    let row = sqlx::query("SELECT * FROM node WHERE id = ?").bind(&node.id.0[..]).fetch_one(db).await?;
    Ok(StoreReply::Nodes(vec![from_row(&row)?]))
}

pub(super) async fn all(db: &mut SqliteConnection) -> Result<StoreReply> {
    let rows = sqlx::query("SELECT * FROM node ORDER BY id").fetch_all(db).await?;
    Ok(StoreReply::Nodes(rows.iter().map(from_row).collect::<Result<_>>()?))
}

fn from_row(row: &SqliteRow) -> Result<NodeRow> {
    let containment: Option<Vec<u8>> = row.try_get("containment")?;
    Ok(NodeRow {
        id: NodeId(bytes(row, "id")?),
        key: PublicKey(bytes(row, "key")?),
        addresses: text(row, "addresses")?.lines().map(str::to_owned).collect(),
        zone: ZoneName(text(row, "zone")?),
        operator: text(row, "operator")?,
        life: life(row, "life")?,
        containment: containment.map(|bytes| unpack_containment(&bytes)).transpose()?,
        volume: VolumeId(bytes(row, "volume")?),
        incarnation: Incarnation(bytes(row, "incarnation")?),
        capacity: uint(row, "capacity")?,
        used: uint(row, "used")?,
        joined: Wall(uint(row, "joined")?),
        seen: Wall(uint(row, "seen")?),
        judged: maybe_uint(row, "judged")?.map(Wall),
        version: uint(row, "version")?,
    })
}

/// audit (32), since (8), attempts (4), next (8), then the outcome's word.
fn pack_containment(containment: &Containment) -> Vec<u8> {
    let mut out = containment.audit.0.to_vec();
    out.extend(containment.since.0.to_be_bytes());
    out.extend(containment.attempts.to_be_bytes());
    out.extend(containment.next.0.to_be_bytes());
    out.extend(super::codec::outcome_word(containment.outcome).as_bytes());
    out
}

fn unpack_containment(bytes: &[u8]) -> Result<Containment> {
    use holdfast_protocol::model::Outcome;
    let wrong = || damaged("containment", "a containment", bytes.len());
    let (audit, rest) = bytes.split_first_chunk::<32>().ok_or_else(wrong)?;
    let (since, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (attempts, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
    let (next, word) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    let outcome = match word {
        b"late" => Outcome::Late,
        b"unreachable" => Outcome::Unreachable,
        b"refused" => Outcome::Refused,
        _ => return Err(wrong()),
    };
    Ok(Containment {
        audit: AuditId(*audit),
        since: Wall(u64::from_be_bytes(*since)),
        attempts: u32::from_be_bytes(*attempts),
        next: Wall(u64::from_be_bytes(*next)),
        outcome,
    })
}
