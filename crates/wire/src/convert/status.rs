//! Status on its way to people.

use holdfast_protocol::{profile::Profile, store::Summary};
use holdfast_types::{Millis, Policy};

use crate::{
    decode::{DecodeError, number},
    pb::auditor::v1 as pb,
};

impl From<&Profile> for pb::ProfileSummary {
    fn from(profile: &Profile) -> Self {
        Self {
            name: profile.name.clone(),
            fold_every_ms: profile.fold_every.0,
            sample_every_ms: profile.sample_every.0,
            repair_every_ms: profile.repair_every.0,
            silence_alarm_ms: profile.silence_alarm.0,
            containment_ms: profile.containment.iter().map(|step| step.0).collect(),
        }
    }
}

impl From<&Policy> for pb::PolicySummary {
    fn from(policy: &Policy) -> Self {
        Self {
            name: policy.name.clone(),
            data: policy.code.data().into(),
            parity: policy.code.parity().into(),
            write_threshold: policy.write_threshold.into(),
            repair_threshold: policy.repair_threshold.into(),
        }
    }
}

impl From<&Summary> for pb::CatalogSummary {
    fn from(summary: &Summary) -> Self {
        let Summary {
            objects,
            plain_bytes,
            segments,
            placements,
            good,
            pending_commitments,
            pending_bytes,
            at_risk,
            unrecoverable,
            worst_held,
            worst_spare,
            deletions,
            owed_records,
            burials,
            uploads,
            epoch,
            counter,
        } = *summary;
        Self {
            objects,
            plain_bytes,
            segments,
            placements,
            good,
            pending_commitments,
            pending_bytes,
            at_risk,
            unrecoverable,
            worst_held: worst_held.into(),
            worst_spare,
            deletions,
            owed_records,
            burials,
            uploads,
            epoch,
            counter,
        }
    }
}

impl TryFrom<pb::CatalogSummary> for Summary {
    type Error = DecodeError;
    fn try_from(message: pb::CatalogSummary) -> Result<Self, DecodeError> {
        Ok(Self {
            objects: message.objects,
            plain_bytes: message.plain_bytes,
            segments: message.segments,
            placements: message.placements,
            good: message.good,
            pending_commitments: message.pending_commitments,
            pending_bytes: message.pending_bytes,
            at_risk: message.at_risk,
            unrecoverable: message.unrecoverable,
            worst_held: number("worst_held", message.worst_held, 0..=u32::from(u16::MAX))? as u16,
            worst_spare: message.worst_spare,
            deletions: message.deletions,
            owed_records: message.owed_records,
            burials: message.burials,
            uploads: message.uploads,
            epoch: message.epoch,
            counter: message.counter,
        })
    }
}

/// Good placements of a node whose commitments are not accepted yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeBacklog {
    /// How many.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What computing them takes one core as fast as the auditor's own: an estimate.
    pub core_time: Millis,
}

impl From<pb::NodeBacklog> for NodeBacklog {
    fn from(message: pb::NodeBacklog) -> Self {
        let pb::NodeBacklog { shards, bytes, core_ms } = message;
        Self { shards, bytes, core_time: Millis(core_ms) }
    }
}

impl From<NodeBacklog> for pb::NodeBacklog {
    fn from(backlog: NodeBacklog) -> Self {
        let NodeBacklog { shards, bytes, core_time } = backlog;
        Self { shards, bytes, core_ms: core_time.0 }
    }
}
