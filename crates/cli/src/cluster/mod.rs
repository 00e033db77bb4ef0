//! A whole cluster on one machine: one auditor and many nodes as child processes of this one, over mutual TLS.
//!
//! ```text
//! Shape ─► lay_out: authority, keys, ports, configurations ─► Child × (1 + n) ─► registered ─► ready
//!          (what is there is kept)                             └ restarted when it dies, unless it was to
//! ```

mod certificates;
mod child;
mod lay_out;
mod layout;
mod ports;
mod shape;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use holdfast_client::Auditor;
use holdfast_transport::Dialer;
use holdfast_types::NodeId;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

pub(crate) use lay_out::Member;
pub(crate) use shape::{Shape, Wanted};

use crate::{failure::Failure, process};
use child::{Child, Spec};
use lay_out::LaidOut;
use layout::{Layout, Lock};

/// Seventeen processes on two busy processors, in a debug build, start within a few seconds.
const READY_MAX: Duration = Duration::from_secs(90);
/// Between two looks at what is not ready yet.
const LOOK: Duration = Duration::from_millis(50);
/// A supervisor that was killed takes its children along; their sockets may need a moment.
const PORT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Lines of a child's log that are shown when it does not come up.
const LOG_LINES: usize = 3;

/// A cluster that runs. Dropped, its processes are killed; [`Cluster::stop`] ends them in order.
#[derive(Debug)]
pub(crate) struct Cluster {
    layout: Layout,
    laid: LaidOut,
    auditor: Child,
    nodes: BTreeMap<NodeId, Child>,
    peaks: BTreeMap<String, u64>,
    _lock: Lock,
}

impl Cluster {
    /// Lays out and starts, and waits until every node has registered. `tell` hears what becomes of the processes.
    ///
    /// Must run on a runtime of one thread, the process's own: the kernel ends children with the thread that made them.
    pub(crate) async fn start<T>(dir: &Path, wanted: &Wanted, tell: T) -> Result<Self, Failure>
    where
        T: Fn(&str) + Clone + Send + 'static,
    {
        let layout = Layout::make(dir)?;
        let lock = layout.lock()?;
        let shape = Shape::of(&layout.shape_file(), wanted)?;
        let laid = lay_out::lay_out(&layout, shape)?;
        wait_for_ports(&layout, &laid).await?;
        let executable = env::current_exe()?;
        let spec = |name: &str, verb, config: PathBuf| Spec {
            name: name.to_owned(),
            executable: executable.clone(),
            verb,
            config,
            log: layout.log_dir().join(format!("{name}.log")),
        };
        // The auditor first: nodes that do not find it wait longer with every attempt.
        let auditor = Child::keep(spec("auditor", "auditor", layout.auditor_config()), tell.clone());
        listening(laid.auditor).await.map_err(|why| blame(&layout, "auditor", &why))?;
        let start = |member: &Member| {
            let spec = spec(&member.name, "node", member.config.clone());
            (member.id, Child::keep(spec, tell.clone()))
        };
        let nodes = laid.members.iter().map(start).collect();
        let cluster = Self { layout, laid, auditor, nodes, peaks: BTreeMap::new(), _lock: lock };
        cluster.registered().await?;
        Ok(cluster)
    }

    async fn registered(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let auditor = self.connect().await?;
        let wanted: BTreeSet<NodeId> = self.nodes.keys().copied().collect();
        loop {
            // Of an earlier start, the catalog knows addresses that nobody listens on yet.
            let known: BTreeSet<NodeId> = auditor.nodes().await?.iter().map(|node| node.contact.id).collect();
            let mut missing: Vec<&Member> = self.laid.members.iter().filter(|it| !known.contains(&it.id)).collect();
            if missing.is_empty() {
                missing = self.silent().await;
            }
            let Some(first) = missing.first() else { return Ok(()) };
            if began.elapsed() > READY_MAX {
                let why = format!("{} of {} nodes did not come up", missing.len(), wanted.len());
                return Err(blame(&self.layout, &first.name, &why));
            }
            sleep(LOOK).await;
        }
    }

    async fn silent(&self) -> Vec<&Member> {
        let mut silent = Vec::new();
        for member in &self.laid.members {
            if TcpStream::connect(member.address).await.is_err() {
                silent.push(member);
            }
        }
        silent
    }

    /// The auditor, under the certificate of the cluster's client.
    pub(crate) async fn connect(&self) -> Result<Auditor, Failure> {
        Ok(Auditor::connect(&Dialer::new(self.laid.client.clone()), &[self.laid.auditor.into()]).await?)
    }

    /// SIGKILLs a node, which stays down.
    pub(crate) async fn kill(&mut self, node: NodeId) {
        self.note_memory();
        if let Some(child) = self.nodes.get_mut(&node) {
            child.kill().await;
        }
    }

    /// Notes the most memory that each process had so far; what is gone keeps its last figure.
    fn note_memory(&mut self) {
        for child in self.nodes.values().chain([&self.auditor]) {
            if let Some(bytes) = child.pid().and_then(process::peak_rss) {
                self.peaks.insert(child.name.clone(), bytes);
            }
        }
    }

    /// The sum over all daemons of the most memory that each had resident, in bytes.
    pub(crate) fn peak_rss(&mut self) -> u64 {
        self.note_memory();
        self.peaks.values().sum()
    }

    /// Ends every process: SIGTERM, and SIGKILL to what is not gone after 5 s.
    pub(crate) async fn stop(self) {
        let children: Vec<Child> = self.nodes.into_values().chain([self.auditor]).collect();
        children.iter().for_each(Child::ask_to_stop);
        for child in children {
            child.stop().await;
        }
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.laid.shape
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.laid.members
    }

    pub(crate) fn auditor_address(&self) -> SocketAddr {
        self.laid.auditor
    }

    pub(crate) fn root(&self) -> &Path {
        self.layout.root()
    }

    pub(crate) fn client_config(&self) -> PathBuf {
        self.layout.client_config()
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.layout.pki_dir().join("ca.pem")
    }

    pub(crate) fn client_tls(&self) -> PathBuf {
        self.layout.client_dir().join("tls")
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.layout.log_dir()
    }
}

/// Whoever else listens on a port of ours would be taken for a dead daemon.
async fn wait_for_ports(layout: &Layout, laid: &LaidOut) -> Result<(), Failure> {
    let nodes = laid.members.iter().map(|member| (member.address, &member.config));
    let auditor = layout.auditor_config();
    let began = Instant::now();
    for (address, config) in nodes.chain([(laid.auditor, &auditor)]) {
        while !ports::is_free(address) {
            if began.elapsed() > PORT_WAIT_MAX {
                return Err(Failure::Failed(format!(
                    "another process listens on {address}; stop it, or change `listen` in {}",
                    config.display()
                )));
            }
            sleep(LOOK).await;
        }
    }
    Ok(())
}

async fn listening(address: SocketAddr) -> Result<(), String> {
    let began = Instant::now();
    while let Err(error) = TcpStream::connect(address).await {
        if began.elapsed() > READY_MAX {
            return Err(format!("it does not listen on {address}: {error}"));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// What went wrong, with the last words of who knows why.
fn blame(layout: &Layout, name: &str, why: &str) -> Failure {
    let path = layout.log_dir().join(format!("{name}.log"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(LOG_LINES).collect();
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    Failure::Failed(format!("{name}: {why}; its log {} ends with:\n{}", path.display(), lines.join("\n")))
}
