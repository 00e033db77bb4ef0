//! A node from start to stop: volume, identity, sockets, registration; and the drain at the end.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use holdfast_transport::{
    AdmissionLayer, Dialer, Listener, ListenerLimits, Role, TlsMaterial, builder, scrape::ScrapeListener,
};
use holdfast_types::{Incarnation, NodeId, PublicKey, SecretKey, VolumeId};
use holdfast_volume::{FileDisk, Identity, Options, Volume};
use holdfast_wire::{FILE_DESCRIPTOR_SET, MESSAGE_LEN_MAX, pb::node::v1::node_service_server::NodeServiceServer};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use crate::{
    Checked, NodeError,
    buffers::Buffers,
    commitments::{self, Desk, Presence, Tally},
    content::{META_AUDITOR, META_NODE},
    counts::{Counts, NodePage},
    identity,
    reading::Rate,
    registration::{Announcement, keep_registered},
    service::Service,
    state::{Served, State, wall},
    writer::Writer,
};

/// How long calls under way may take to end after a stop was asked for.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Runs a node until `shutdown` resolves, then drains for at most [`DRAIN_MAX`].
///
/// # Errors
/// [`NodeError`]: it could not start, or a server ended by itself.
pub async fn run(config: Checked, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
    let mut running = Running::start(config).await?;
    let failure = tokio::select! {
        () = shutdown => None,
        failure = running.failed() => Some(failure),
    };
    running.stop().await?;
    failure.map_or(Ok(()), Err)
}

/// A node that serves. Dropped without [`Running::stop`] it ends as if killed: sockets close, nothing is waited for.
pub struct Running {
    id: NodeId,
    addresses: Vec<SocketAddr>,
    servers: JoinSet<Result<(), NodeError>>,
    background: JoinSet<()>,
    stop: watch::Sender<bool>,
    health: HealthReporter,
    writer: thread::JoinHandle<()>,
    state: Arc<State>,
    metrics: Option<SocketAddr>,
    /// Ends the committer with the node, also one that is only dropped.
    committing: Presence,
}

impl Running {
    /// Starts a node: opens or makes its volume, listens, and begins to register.
    ///
    /// # Errors
    /// [`NodeError`], each with what to do.
    pub async fn start(config: Checked) -> Result<Self, NodeError> {
        let key = identity::load_or_create(&config.identity_key, &config.volume_dir())?;
        let id = key.public().node_id();
        let material = TlsMaterial::load_files(&config.tls.ca, &config.tls.cert, &config.tls.key, wall())?;
        if material.subject().role() != Role::Node || material.subject().node() != Some(id) {
            return Err(NodeError::ForeignCertificate { certificate: material.subject().to_string(), key: id });
        }
        let volume = open_volume(&config, id)?;
        let (state, writer) = assemble(&config, key, volume)?;
        let committing = Presence(Arc::clone(&state.desk));
        let mut listeners = Vec::new();
        for address in &config.listen {
            listeners.push(Listener::bind(*address, &material, ListenerLimits::default()).await?);
        }
        let addresses: Vec<SocketAddr> = listeners.iter().map(Listener::address).collect();
        let (stop, stopped) = watch::channel(false);
        let (health, servers) = serve(&state, listeners, &stopped).await?;
        let announcement = announcement(&config, &addresses, &material);
        info!(node = %id, volume = %state.volume, incarnation = %state.incarnation, ?addresses, "serving");
        let mut background = JoinSet::new();
        background.spawn(keep_registered(Arc::clone(&state), Dialer::new(material), announcement));
        if config.commit_cpu_share > 0.0 {
            commitments::start(&state, &state.desk, config.commit_cpu_share)?;
        }
        let metrics = match config.metrics {
            Some(address) => Some(count_aloud(address, &state, &mut background).await?),
            None => None,
        };
        Ok(Self { id, addresses, servers, background, stop, health, writer, state, metrics, committing })
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where it listens, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where its numbers are served, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Its volume and life.
    pub fn volume(&self) -> (VolumeId, Incarnation) {
        (self.state.volume, self.state.incarnation)
    }

    /// What of its shards is committed to.
    pub fn tally(&self) -> Tally {
        self.state.backlog.tally()
    }

    /// Whether an auditor's key is pinned, so that grants can be judged.
    pub fn is_registered(&self) -> bool {
        self.state.auditor.get().is_some()
    }

    /// Resolves when a server ended by itself.
    pub async fn failed(&mut self) -> NodeError {
        match self.servers.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Ok(Ok(()))) | None => NodeError::Bug("a server ended without being told to".into()),
            Some(Err(error)) => NodeError::Bug(format!("a server's task ended: {error}")),
        }
    }

    /// Takes no new calls, lets those under way end for at most [`DRAIN_MAX`], and closes the volume.
    ///
    /// # Errors
    /// [`NodeError::Bug`] if the volume's thread panicked.
    pub async fn stop(self) -> Result<(), NodeError> {
        let Self { mut servers, mut background, stop, health, writer, state, id, committing, .. } = self;
        let deadline = Instant::now() + DRAIN_MAX;
        health.set_not_serving::<NodeServiceServer<Service>>().await;
        background.shutdown().await;
        drop(committing);
        stop.send_replace(true);
        let drained = timeout_at(deadline, async { while servers.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            warn!(waited_ms = DRAIN_MAX.as_millis(), "calls still under way are cut off");
            servers.shutdown().await;
        }
        // The writer ends with its last order-giver; a read under way may hold the state for a moment. Joining it
        // on a worker would keep the runtime from ending if it did not.
        drop(state);
        while !writer.is_finished() {
            if Instant::now() >= deadline {
                // Correctness never needs a clean stop: what was acknowledged is durable.
                warn!(node = %id, "stopped with work under way");
                return Ok(());
            }
            sleep(Duration::from_millis(2)).await;
        }
        writer.join().map_err(|_| NodeError::Bug("the volume's thread panicked".into()))?;
        info!(node = %id, "stopped");
        Ok(())
    }
}

/// Serves the node's numbers; where, is told.
async fn count_aloud(
    address: SocketAddr,
    state: &Arc<State>,
    background: &mut JoinSet<()>,
) -> Result<SocketAddr, NodeError> {
    let listener = ScrapeListener::bind(address).await?;
    let address = listener.address();
    background.spawn(listener.serve(Arc::new(NodePage(Arc::downgrade(state)))));
    info!(node = %state.id, %address, "metrics at GET /metrics");
    Ok(address)
}

fn draw<const N: usize>() -> Result<[u8; N], NodeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NodeError::Bug(format!("no randomness from the system: {error}")))?;
    Ok(bytes)
}

fn open_volume(config: &Checked, id: NodeId) -> Result<Volume, NodeError> {
    let path = config.volume_dir();
    let disk = FileDisk::open(&path)?;
    let options = Options { capacity: config.capacity, ..Options::default() };
    let fresh = Identity { volume: draw()?, incarnation: draw()? };
    let (mut volume, report) = Volume::open(disk, options, fresh)?;
    if report.is_clean() {
        info!(path = %path.display(), %report, "volume open");
    } else {
        warn!(path = %path.display(), %report, "volume open, damaged");
    }
    match volume.meta(META_NODE) {
        Some(bytes) if bytes == id.as_bytes() => {}
        Some(bytes) => {
            let owner = NodeId(bytes.try_into().unwrap_or_default());
            return Err(NodeError::ForeignVolume { path, volume: owner, key: id });
        }
        None => {
            volume.set_meta(META_NODE, id.as_bytes())?;
            volume.commit()?;
        }
    }
    Ok(volume)
}

fn assemble(
    config: &Checked,
    key: SecretKey,
    volume: Volume,
) -> Result<(Arc<State>, thread::JoinHandle<()>), NodeError> {
    let identity = volume.identity();
    let reader = volume.reader();
    let pinned = reader.meta(META_AUDITOR).and_then(|bytes| bytes.try_into().ok()).map(PublicKey);
    let auditor = OnceLock::new();
    if let Some(key) = pinned.or(config.auditor_key) {
        if config.auditor_key.is_some_and(|configured| configured != key) {
            return Err(NodeError::config(
                "auditor.public_key",
                format!("{key}, which this volume has pinned"),
                "another",
            ));
        }
        let _ = auditor.set(key);
    }
    let (writer, backlog, thread) = Writer::start(volume, config.owner_quota)?;
    let limits = config.limits;
    let state = State {
        id: key.public().node_id(),
        key,
        volume: VolumeId(identity.volume),
        incarnation: Incarnation(identity.incarnation),
        capacity: config.capacity,
        limits,
        reader,
        writer,
        auditor,
        damage: Default::default(),
        desk: Arc::new(Desk::new(config.commit_cpu_share)),
        backlog,
        uploads: Arc::new(Semaphore::new(limits.uploads)),
        reads: Arc::new(Semaphore::new(limits.read_threads)),
        buffers: Buffers::default(),
        challenges: Arc::new(Semaphore::new(limits.challenges)),
        served: Served::new(),
        rate: Rate::new(limits.challenge_rate),
        counts: Counts::default(),
    };
    Ok((Arc::new(state), thread))
}

fn announcement(config: &Checked, bound: &[SocketAddr], material: &TlsMaterial) -> Announcement {
    let addresses = if config.advertise.is_empty() {
        bound.iter().map(ToString::to_string).collect()
    } else {
        config.advertise.iter().map(ToString::to_string).collect()
    };
    Announcement {
        auditor: config.auditor.clone(),
        auditor_addresses: config.auditor_addresses.clone(),
        addresses,
        zone: config.zone.clone(),
        operator: config.operator.clone(),
        tls_key_digest: *material.key_digest(),
    }
}

async fn serve(
    state: &Arc<State>,
    listeners: Vec<Listener>,
    stopped: &watch::Receiver<bool>,
) -> Result<(HealthReporter, JoinSet<Result<(), NodeError>>), NodeError> {
    let admission = AdmissionLayer::default();
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<NodeServiceServer<Service>>().await;
    let mut servers = JoinSet::new();
    for listener in listeners {
        let address = listener.address();
        let service = NodeServiceServer::new(Service(Arc::clone(state)))
            .max_decoding_message_size(MESSAGE_LEN_MAX)
            .max_encoding_message_size(MESSAGE_LEN_MAX);
        let broken = |error: tonic_reflection::server::Error| NodeError::Bug(format!("reflection: {error}"));
        let mut stopped = stopped.clone();
        let told = async move {
            // An error means that the node is gone without a word, which ends it just as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let router = builder()
            .layer(admission.clone())
            .add_service(health_service.clone())
            // Stock tools still ask for the older of the two.
            .add_service(reflection().build_v1().map_err(broken)?)
            .add_service(reflection().build_v1alpha().map_err(broken)?)
            .add_service(service);
        let serving = router.serve_with_incoming_shutdown(listener.incoming(), told);
        servers.spawn(
            async move { serving.await.map_err(|error| NodeError::Serve { address, why: format!("{error:?}") }) },
        );
    }
    Ok((health, servers))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("holdfast.node.v1.NodeService")
        .with_service_name("grpc.health.v1.Health")
}
