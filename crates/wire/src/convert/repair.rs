//! Repairs on their way to people.

use holdfast_protocol::model::{RepairRow, RepairState};
use holdfast_types::{Fence, NodeId, RepairId, SegmentId, ShardId, Wall};

use super::primitive::shard_index;
use crate::{
    decode::{DecodeError, Inside, fixed, fixed_or_empty, list, number, present, text},
    pb::auditor::v1 as pb,
};

/// Repairs in one page at most.
pub const REPAIRS_PAGE_MAX: u32 = 1024;
/// Bytes of a reason at most; the sender cuts it.
pub const REASON_LEN_MAX: usize = 1024;

impl TryFrom<pb::Repair> for RepairRow {
    type Error = DecodeError;
    fn try_from(message: pb::Repair) -> Result<Self, DecodeError> {
        Ok(Self {
            id: RepairId(fixed("repair_id", &message.repair_id)?),
            segment: SegmentId(fixed("segment_id", &message.segment_id)?),
            index: shard_index("index", message.index)?,
            shard: ShardId::from_bytes(fixed("shard", &message.shard)?),
            from: fixed_or_empty("from_node_id", &message.from_node_id)?.map(NodeId),
            to: NodeId(fixed("to_node_id", &message.to_node_id)?),
            state: match pb::RepairState::try_from(message.state) {
                Ok(pb::RepairState::Running) => RepairState::Running,
                Ok(pb::RepairState::Done) => RepairState::Done,
                Ok(pb::RepairState::Failed) => RepairState::Failed,
                Ok(pb::RepairState::Unspecified) | Err(_) => {
                    return Err(DecodeError::new("state", "a state from 1 to 3", message.state));
                }
            },
            fence: message.fence.map(Fence::from).unwrap_or_default(),
            started: Wall(message.started_unix_ms),
            ended: message.ended_unix_ms.map(Wall),
            bytes: message.bytes,
            reason: text("reason", message.reason, 0..=REASON_LEN_MAX)?,
        })
    }
}

impl From<&RepairRow> for pb::Repair {
    fn from(row: &RepairRow) -> Self {
        let state = match row.state {
            RepairState::Running => pb::RepairState::Running,
            RepairState::Done => pb::RepairState::Done,
            RepairState::Failed => pb::RepairState::Failed,
        };
        Self {
            repair_id: row.id.as_bytes().to_vec(),
            segment_id: row.segment.as_bytes().to_vec(),
            index: row.index.0.into(),
            shard: row.shard.as_bytes().to_vec(),
            from_node_id: row.from.map(|node| node.0.to_vec()).unwrap_or_default(),
            to_node_id: row.to.as_bytes().to_vec(),
            state: state.into(),
            fence: Some(row.fence.into()),
            started_unix_ms: row.started.0,
            ended_unix_ms: row.ended.map(|at| at.0),
            bytes: row.bytes,
            reason: printable(&row.reason),
        }
    }
}

/// A reason may quote a peer's words: what a terminal would obey is replaced, what is too long is cut.
fn printable(reason: &str) -> String {
    let mut out = String::new();
    for letter in reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if out.len() + letter.len_utf8() > REASON_LEN_MAX {
            break;
        }
        out.push(letter);
    }
    out
}

impl TryFrom<pb::ListRepairsResponse> for Vec<RepairRow> {
    type Error = DecodeError;
    fn try_from(message: pb::ListRepairsResponse) -> Result<Self, DecodeError> {
        list("repairs", message.repairs, 0..=REPAIRS_PAGE_MAX as usize, RepairRow::try_from)
    }
}

/// How many repairs are wanted.
impl TryFrom<pb::ListRepairsRequest> for u32 {
    type Error = DecodeError;
    fn try_from(message: pb::ListRepairsRequest) -> Result<Self, DecodeError> {
        number("limit", message.limit, 1..=REPAIRS_PAGE_MAX)
    }
}

impl TryFrom<pb::WatchRepairsResponse> for RepairRow {
    type Error = DecodeError;
    fn try_from(message: pb::WatchRepairsResponse) -> Result<Self, DecodeError> {
        RepairRow::try_from(present("repair", message.repair)?).inside("repair")
    }
}
