//! An auditor from start to stop: keys, catalog, core, sockets; and the drain at the end.

use std::{collections::BTreeSet, fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use holdfast_client::link::Links;
use holdfast_dispersal::RecoveryKey;
use holdfast_kzg::Setup;
use holdfast_protocol::auditor::{Auditor, CommitProgress, Config as CoreConfig};
use holdfast_transport::{
    AdmissionLayer, Dialer, Listener, ListenerLimits, Role, TlsMaterial, TransportError, builder,
    scrape::ScrapeListener,
};
use holdfast_types::{SecretKey, Transcript, Wall};
use holdfast_wire::FILE_DESCRIPTOR_SET;
use thiserror::Error;
use tokio::{
    sync::{broadcast, mpsc},
    task::{JoinSet, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{
    api::{self, Api},
    clock::{self, Clock},
    config::Config,
    counted::Walks,
    counts::{AuditorPage, Counts},
    driver::Driver,
    keys::{KeyError, load_or_make},
    lists::{
        ListStore,
        sweep::{GRACE, Sweep},
    },
    sample,
    seal::WitnessKey,
    shared::{NOTICES_KEPT, Shared},
    store::{OpenError, SqliteStore},
};

/// How long calls under way may take to end after a stop was asked for.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

const CATALOG: &str = "catalog.sqlite";
const LISTS: &str = "commitments";

/// Why an auditor does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// Its directory.
    #[error("the data directory {path} cannot be made or used: {source}")]
    Directory {
        /// Where.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Its keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its catalog.
    #[error(transparent)]
    Catalog(#[from] OpenError),
    /// Its certificate or its sockets.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A certificate of another role or cluster.
    #[error(
        "expected a certificate of an auditor of cluster {cluster}, got {got}; issue one with `holdfast pki issue`"
    )]
    Certificate {
        /// The configured cluster.
        cluster: String,
        /// What the certificate says.
        got: String,
    },
    /// A server or the core ended by itself.
    #[error("a part of the auditor ended by itself: {0}; report it")]
    Ended(String),
}

/// Runs an auditor until `shutdown` resolves, then drains for at most [`DRAIN_MAX`].
///
/// # Errors
/// [`RunError`]: it could not start, or a part of it ended by itself.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut running = Running::start(config).await?;
    let failure = tokio::select! {
        () = shutdown => None,
        failure = running.failed() => Some(failure),
    };
    running.stop().await;
    failure.map_or(Ok(()), Err)
}

/// An auditor that serves.
pub struct Running {
    addresses: Vec<SocketAddr>,
    parts: JoinSet<Result<(), RunError>>,
    stop: CancellationToken,
    shared: Arc<Shared>,
    metrics: Option<SocketAddr>,
    health: HealthReporter,
}

impl Running {
    /// Starts an auditor: opens or makes its catalog, listens, and begins to audit.
    ///
    /// # Errors
    /// [`RunError`], each with what to do.
    pub async fn start(config: Config) -> Result<Self, RunError> {
        let material = material(&config)?;
        let (shared, events) = assemble(&config, &material).await?;
        // The setup's tables take a moment; the first audit must not wait for them on the core's task.
        let prepared = spawn_blocking(|| Setup::ethereum().prepare()).await;
        prepared.map_err(|error| RunError::Ended(error.to_string()))?;
        let stop = CancellationToken::new();
        let mut parts = JoinSet::new();
        let mut addresses = Vec::new();
        let (health, health_service) = tonic_health::server::health_reporter();
        tell(&health, ServingStatus::Serving).await;
        let broken = |error: tonic_reflection::server::Error| RunError::Ended(error.to_string());
        let api = Api::new(&shared);
        for address in &config.listen {
            let listener = Listener::bind(*address, &material, ListenerLimits::default()).await?;
            addresses.push(listener.address());
            // Both versions: stock Python clients still ask for v1alpha.
            let routes = api::routes(&api)
                .add_service(health_service.clone())
                .add_service(reflection().build_v1().map_err(broken)?)
                .add_service(reflection().build_v1alpha().map_err(broken)?);
            let serving = builder()
                .layer(AdmissionLayer::default())
                .add_routes(routes)
                .serve_with_incoming_shutdown(listener.incoming(), stop.clone().cancelled_owned());
            parts.spawn(async move { serving.await.map_err(|error| RunError::Ended(error.to_string())) });
        }
        let measured = Arc::clone(&shared);
        drop(spawn_blocking(move || measure_commit(&measured)));
        let core = Auditor::new(core_config(&config, &shared));
        let driver = Driver::new(Arc::clone(&shared), core);
        let stopped = stop.clone();
        parts.spawn(async move {
            driver.run(events, stopped).await;
            Ok(())
        });
        let (sweep, stopped) = (Sweep::new(&shared, GRACE), stop.clone());
        parts.spawn(async move {
            stopped.run_until_cancelled_owned(sweep.run()).await;
            Ok(())
        });
        info!(cluster = %config.cluster, key = %shared.key.public(), ?addresses, profile = config.profile.name, "auditing");
        let metrics = match config.metrics {
            Some(address) => Some(count_aloud(address, &shared, &stop, &mut parts).await?),
            None => None,
        };
        Ok(Self { addresses, parts, stop, shared, metrics, health })
    }

    /// Where it listens, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where its numbers are served, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Resolves when a part ended by itself.
    pub async fn failed(&mut self) -> RunError {
        match self.parts.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Ok(Ok(()))) | None => RunError::Ended("a server ended without being told to".into()),
            Some(Err(error)) => RunError::Ended(error.to_string()),
        }
    }

    /// Takes no new calls, lets those under way end for at most [`DRAIN_MAX`], and closes the catalog.
    pub async fn stop(mut self) {
        tell(&self.health, ServingStatus::NotServing).await;
        self.stop.cancel();
        let drained = timeout(DRAIN_MAX, async { while self.parts.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            warn!(waited_ms = DRAIN_MAX.as_millis(), "calls still under way are cut off");
            self.parts.shutdown().await;
        }
        // Correctness never needs a clean stop: a reader that does not end must not keep the process.
        let _ = timeout(Duration::from_secs(1), self.shared.store.close()).await;
        info!("stopped");
    }
}

/// Serves the auditor's numbers, and keeps those that the catalog has to be walked for; where, is told.
async fn count_aloud(
    address: SocketAddr,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    parts: &mut JoinSet<Result<(), RunError>>,
) -> Result<SocketAddr, RunError> {
    let listener = ScrapeListener::bind(address).await?;
    let address = listener.address();
    let (walks, page) = (sample::keep(Arc::clone(shared)), Arc::new(AuditorPage(Arc::clone(shared))));
    let stopped = stop.clone();
    parts.spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            () = walks => {}
            () = listener.serve(page) => {}
        }
        Ok(())
    });
    info!(%address, "metrics at GET /metrics");
    Ok(address)
}

/// Says how all services are.
async fn tell(health: &HealthReporter, status: ServingStatus) {
    for service in api::SERVICES.into_iter().chain([""]) {
        health.set_service_status(service, status).await;
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    api::SERVICES.into_iter().fold(builder, |builder, service| builder.with_service_name(service))
}

fn material(config: &Config) -> Result<TlsMaterial, RunError> {
    let material = TlsMaterial::load_files(&config.tls.ca, &config.tls.cert, &config.tls.key, clock::wall())?;
    if material.subject().role() != Role::Auditor || *material.cluster() != config.cluster {
        let got = format!("{} of cluster {}", material.subject(), material.cluster());
        return Err(RunError::Certificate { cluster: config.cluster.to_string(), got });
    }
    Ok(material)
}

pub(crate) async fn assemble(
    config: &Config,
    material: &TlsMaterial,
) -> Result<(Arc<Shared>, mpsc::UnboundedReceiver<holdfast_protocol::effect::Event>), RunError> {
    let directory = |source| RunError::Directory { path: config.data_dir.clone(), source };
    fs::create_dir_all(&config.data_dir).map_err(directory)?;
    let catalog = config.data_dir.join(CATALOG);
    // A new recovery key beside an old catalog could heal nothing: that is a loss to be told, not to be papered over.
    let must_exist = catalog.exists();
    let key = SecretKey::from_seed(&*load_or_make(&config.signing_key, must_exist)?);
    let recovery = RecoveryKey::from_bytes(*load_or_make(&config.recovery_key, must_exist)?);
    let witnesses = WitnessKey::derive(&recovery).map_err(|why| RunError::Key(KeyError::Chance(why)))?;
    let lists = ListStore::open(config.data_dir.join(LISTS)).map_err(directory)?;
    let (events, waiting) = mpsc::unbounded_channel();
    let shared = Shared {
        cluster: config.cluster.clone(),
        profile: config.profile.clone(),
        policies: config.policies.clone(),
        key,
        recovery,
        witnesses,
        store: SqliteStore::open(&catalog).await?,
        lists,
        links: Links::new(Dialer::new(material.clone())),
        clock: Clock::start(),
        events,
        notices: broadcast::channel(NOTICES_KEPT).0,
        audits_in_flight: 0.into(),
        repairs_running: 0.into(),
        alerts: std::sync::RwLock::default(),
        deleting: BTreeSet::new().into(),
        over_debt: BTreeSet::new().into(),
        commit_progress: CommitProgress::default().into(),
        counts: Counts::default(),
        sample: None.into(),
        walks: Walks::default(),
        commit_micros: 0.into(),
    };
    Ok((Arc::new(shared), waiting))
}

/// What one commitment takes here: the least of a few, so that a busy moment does not count.
fn measure_commit(shared: &Shared) {
    const TIMES: u8 = 3;
    let setup = Setup::ethereum();
    let one = |n: u8| {
        let blob: Vec<u8> = (0..holdfast_kzg::BLOB_LEN).map(|at| (at as u8).wrapping_mul(n)).collect();
        let began = std::time::Instant::now();
        let done = setup.commit(&blob);
        done.is_ok().then(|| began.elapsed().as_micros())
    };
    let least = (1..=TIMES).filter_map(one).min().unwrap_or(0);
    shared.commit_micros.store(u32::try_from(least).unwrap_or(u32::MAX), std::sync::atomic::Ordering::Relaxed);
}

fn core_config(config: &Config, shared: &Shared) -> CoreConfig {
    // The name alone may be another cluster's too; with the auditor's key it is this one's.
    let cluster = Transcript::new("holdfast 2026 cluster id v1")
        .absorb("name", config.cluster.as_str().as_bytes())
        .absorb("auditor", &shared.key.public().0);
    CoreConfig {
        cluster: cluster.digest(),
        profile: config.profile.clone(),
        key: shared.key.clone(),
        no_orphans_before: Wall(0),
    }
}
