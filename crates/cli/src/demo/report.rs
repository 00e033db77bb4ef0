//! The demo's findings as the one JSON object that it ends with.

use holdfast_types::{NodeId, ObjectId, ShardId};
use serde::Serialize;

use crate::show;

/// What a fault does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// 16 bytes of a shard changed on the disk.
    Flip,
    /// Volume files truncated under a node that stays up.
    Wipe,
    /// SIGKILL.
    Kill,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::Wipe => "wipe",
            Self::Kill => "kill",
        }
    }
}

/// One fault.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) node: NodeId,
    /// The one shard that it hit; `None` for all that the node held.
    pub(crate) shard: Option<ShardId>,
    /// Where in the stored shard.
    pub(crate) offset: Option<u64>,
}

/// The verdict against one shard: the first, or a later one that says more.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
    pub(crate) outcome: &'static str,
    pub(crate) cause: Option<&'static str>,
    /// Half open, bytes of the stored shard.
    pub(crate) range: Option<[u64; 2]>,
    pub(crate) lane: &'static str,
    /// Since the fault.
    pub(crate) after_seconds: f64,
}

/// One shard's way back.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Repair {
    pub(crate) shard: ShardId,
    pub(crate) from: Option<NodeId>,
    /// `from` again for a repair in place.
    pub(crate) to: NodeId,
    pub(crate) seconds: f64,
}

/// Seconds, and 10⁶ bytes of the user's in each of them.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Rate {
    pub(crate) seconds: f64,
    pub(crate) mb_per_s: f64,
}

impl Rate {
    pub(crate) fn of(bytes: u64, seconds: f64) -> Self {
        Self { seconds: show::rounded(seconds), mb_per_s: show::mb_per_s(bytes, seconds) }
    }
}

/// k and m.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Policy {
    pub(crate) data: u16,
    pub(crate) parity: u16,
}

/// The worst segment.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Worst {
    pub(crate) shards_held: u16,
    pub(crate) spare: i32,
}

/// How everything stands at the end.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct After {
    pub(crate) segments: u64,
    pub(crate) worst: Worst,
}

/// Everything, as far as it came.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The first one, where several files were given.
    pub(crate) object: Option<ObjectId>,
    /// All of them, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<ObjectId>,
    pub(crate) bytes: u64,
    pub(crate) policy: Policy,
    pub(crate) nodes: u16,
    pub(crate) put: Rate,
    pub(crate) get: Rate,
    pub(crate) peak_rss_mb: f64,
    pub(crate) cluster_rss_mb: f64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) repairs: Vec<Repair>,
    pub(crate) after: After,
    pub(crate) identical: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_object_has_the_documented_shape_and_nothing_else() {
        let (node, shard) = (NodeId([1; 32]), ShardId::from_bytes([2; 32]));
        let report = Report {
            ok: true,
            object: Some(ObjectId::from_bytes([3; 32])),
            bytes: 9,
            policy: Policy { data: 8, parity: 4 },
            nodes: 16,
            put: Rate::of(2_000_000, 0.5),
            faults: vec![Fault { kind: Kind::Flip, node, shard: Some(shard), offset: Some(5) }],
            verdicts: vec![Verdict {
                node,
                shard,
                outcome: "corrupt",
                cause: Some("reported"),
                range: Some([0, 126_976]),
                lane: "fold",
                after_seconds: 1.5,
            }],
            repairs: vec![Repair { shard, from: Some(node), to: node, seconds: 0.25 }],
            after: After { segments: 1, worst: Worst { shards_held: 12, spare: 4 } },
            identical: true,
            ..Report::default()
        };
        let (node, shard) = (node.to_string(), shard.to_string());
        let expected = json!({
            "ok": true,
            "object": ObjectId::from_bytes([3; 32]).to_string(),
            "bytes": 9,
            "policy": {"data": 8, "parity": 4},
            "nodes": 16,
            "put": {"seconds": 0.5, "mb_per_s": 4.0},
            "get": {"seconds": 0.0, "mb_per_s": 0.0},
            "peak_rss_mb": 0.0,
            "cluster_rss_mb": 0.0,
            "faults": [{"kind": "flip", "node": node, "shard": shard, "offset": 5}],
            "verdicts": [{"node": node, "shard": shard, "outcome": "corrupt", "cause": "reported", "range": [0, 126_976],
                "lane": "fold", "after_seconds": 1.5}],
            "repairs": [{"shard": shard, "from": node, "to": node, "seconds": 0.25}],
            "after": {"segments": 1, "worst": {"shards_held": 12, "spare": 4}},
            "identical": true,
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    }

    #[test]
    fn a_failure_says_why_and_what_is_unknown_is_null() {
        let report = Report { error: Some("why".into()), ..Report::default() };
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!((&value["ok"], &value["error"]), (&Value::Bool(false), &json!("why")));
        assert_eq!(value["object"], Value::Null);
        let fault = Fault { kind: Kind::Wipe, node: NodeId([1; 32]), shard: None, offset: None };
        let value = serde_json::to_value(&fault).unwrap();
        assert_eq!((&value["kind"], &value["shard"], &value["offset"]), (&json!("wipe"), &Value::Null, &Value::Null));
    }
}
