//! What the driver and the API have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use holdfast_client::link::Links;
use holdfast_dispersal::RecoveryKey;
use holdfast_protocol::{
    auditor::CommitProgress,
    effect::{Command, Event, Notice},
    profile::Profile,
    store::{StoreOp, StoreReply},
};
use holdfast_transport::ClusterName;
use holdfast_types::{NodeId, Policy, SecretKey, ShardId};
use tokio::sync::{broadcast, mpsc};

use crate::{
    alerts::Alerts, clock::Clock, counted::Walks, counts::Counts, lists::ListStore, sample::Sample, seal::WitnessKey,
    store::SqliteStore,
};

/// Notices that a slow watcher may be behind; one further behind reads them from the catalog.
pub(crate) const NOTICES_KEPT: usize = 1024;

/// One auditor's state outside its core. All of it may be shared between threads.
pub(crate) struct Shared {
    pub(crate) cluster: ClusterName,
    pub(crate) profile: Profile,
    pub(crate) policies: BTreeMap<String, Policy>,
    pub(crate) key: SecretKey,
    pub(crate) recovery: RecoveryKey,
    /// Seals clients' witnesses.
    pub(crate) witnesses: WitnessKey,
    pub(crate) store: SqliteStore,
    pub(crate) lists: ListStore,
    pub(crate) links: Links,
    pub(crate) clock: Clock,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) notices: broadcast::Sender<Arc<Notice>>,
    pub(crate) audits_in_flight: AtomicU32,
    pub(crate) repairs_running: AtomicU32,
    pub(crate) alerts: RwLock<Alerts>,
    /// Deletions that nodes may be carrying out at this moment: see [`Auditor::deleting`].
    ///
    /// [`Auditor::deleting`]: holdfast_protocol::auditor::Auditor::deleting
    pub(crate) deleting: RwLock<BTreeSet<(NodeId, ShardId)>>,
    /// Nodes that owe more commitments than they may: see [`Auditor::over_debt`].
    ///
    /// [`Auditor::over_debt`]: holdfast_protocol::auditor::Auditor::over_debt
    pub(crate) over_debt: RwLock<BTreeSet<NodeId>>,
    /// What came of commitments since the start.
    pub(crate) commit_progress: RwLock<CommitProgress>,
    /// What was told since the start.
    pub(crate) counts: Counts,
    /// The catalog's numbers, where somebody may scrape them.
    pub(crate) sample: RwLock<Option<Sample>>,
    /// Walks over the catalog for whoever asks how it stands.
    pub(crate) walks: Walks,
    /// What one commitment takes on this machine, in microseconds; 0 until it was measured.
    pub(crate) commit_micros: AtomicU32,
}

impl Shared {
    /// Asks the catalog.
    pub(crate) async fn ask(&self, op: StoreOp) -> StoreReply {
        self.store.apply(op).await
    }

    /// Tells the core.
    pub(crate) fn command(&self, command: Command) {
        // Closed only while the process ends.
        let _ = self.events.send(Event::Command(command));
    }

    pub(crate) fn gauge(&self, audits: usize, repairs: usize) {
        self.audits_in_flight.store(u32::try_from(audits).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.repairs_running.store(u32::try_from(repairs).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}
