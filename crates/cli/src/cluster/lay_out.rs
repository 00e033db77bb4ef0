//! Lays a cluster out in its directory: keys, certificates, ports and configurations. What is there is kept; a second
//! start finds everything again.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::PathBuf};

use holdfast_auditor::config as auditor;
use holdfast_client::OwnerKeyFile;
use holdfast_node::{config as node, identity};
use holdfast_transport::{ClusterCa, Subject, TlsMaterial};
use holdfast_types::NodeId;
use serde::Serialize;

use super::{certificates, layout, layout::Layout, ports, shape::Shape};
use crate::failure::Failure;

/// The name in the auditor's certificate.
const AUDITOR: &str = "auditor";
/// Bytes that each node offers. A limit, not a reservation: the disk's own end comes first.
const NODE_CAPACITY: &str = "1TiB";

/// A node of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// `n01` and on.
    pub(crate) name: String,
    pub(crate) id: NodeId,
    pub(crate) zone: String,
    pub(crate) address: SocketAddr,
    pub(crate) config: PathBuf,
    /// Where its volume lies.
    pub(crate) volume: PathBuf,
}

/// A cluster that can be started.
#[derive(Debug)]
pub(crate) struct LaidOut {
    pub(crate) shape: Shape,
    pub(crate) auditor: SocketAddr,
    pub(crate) members: Vec<Member>,
    /// The client's certificate, for the supervisor's own questions.
    pub(crate) client: TlsMaterial,
}

#[derive(Serialize)]
struct ClientToml {
    auditors: Vec<String>,
    tls_dir: &'static str,
    owner_key: &'static str,
    policy: &'static str,
    state_dir: &'static str,
}

/// Lays out what is not there yet.
pub(crate) fn lay_out(layout: &Layout, shape: Shape) -> Result<LaidOut, Failure> {
    let ca = certificates::authority(&layout.pki_dir())?;
    let names: Vec<String> = (1..=shape.nodes).map(|number| format!("n{number:02}")).collect();
    let mut free = ports::free(names.len() + 1)?.into_iter();
    let mut port = || free.next().ok_or_else(|| Failure::Failed("ran out of ports; this is a bug, report it".into()));
    let auditor = lay_out_auditor(layout, &ca, &shape, port()?)?;
    let mut members = Vec::with_capacity(names.len());
    for (number, name) in names.into_iter().enumerate() {
        members.push(lay_out_node(layout, &ca, name, shape.zone(number as u16), auditor, port()?)?);
    }
    let client = lay_out_client(layout, &ca, auditor)?;
    // Last: a directory with this file is complete.
    layout::write(&layout.shape_file(), &to_toml(&shape)?)?;
    Ok(LaidOut { shape, auditor, members, client })
}

fn lay_out_auditor(layout: &Layout, ca: &ClusterCa, shape: &Shape, port: SocketAddr) -> Result<SocketAddr, Failure> {
    let dir = layout.auditor_dir();
    certificates::ensure(ca, &Subject::Auditor(AUDITOR.parse()?), &dir.join("tls"))?;
    let path = layout.auditor_config();
    if !path.exists() {
        let code = shape.code()?;
        let policy = auditor::RawPolicy {
            data: code.data(),
            parity: code.parity(),
            write_threshold: None,
            repair_threshold: None,
        };
        let raw = auditor::Raw {
            cluster: certificates::CLUSTER.into(),
            listen: vec![port.to_string()],
            data_dir: "state".into(),
            profile: shape.profile.clone(),
            signing_key: "auditor.key".into(),
            recovery_key: "recovery.key".into(),
            tls: auditor::RawTls { ca: "tls/ca.pem".into(), cert: "tls/cert.pem".into(), key: "tls/key.pem".into() },
            policy: BTreeMap::from([("default".to_owned(), policy)]),
            metrics: None,
        };
        layout::write(&path, &to_toml(&raw)?)?;
    }
    let config = holdfast_auditor::Config::load(&path).map_err(|error| Failure::Failed(error.to_string()))?;
    config.listen.first().copied().ok_or_else(|| Failure::file(&path, "expected an address to listen on, got none"))
}

fn lay_out_node(
    layout: &Layout,
    ca: &ClusterCa,
    name: String,
    zone: String,
    auditor: SocketAddr,
    port: SocketAddr,
) -> Result<Member, Failure> {
    let (dir, config) = (layout.node_dir(&name), layout.node_config(&name));
    fs::create_dir_all(&dir).map_err(|error| Failure::file(&dir, error))?;
    let tls = |file: &str| PathBuf::from("tls").join(file);
    if !config.exists() {
        let raw = node::Raw {
            listen: vec![port.to_string()],
            advertise: Vec::new(),
            data_dir: "state".into(),
            identity_key: "node.key".into(),
            capacity: node::Size::Text(NODE_CAPACITY.into()),
            owner_quota: None,
            zone: zone.clone(),
            operator: name.clone(),
            auditor: node::RawAuditor { name: AUDITOR.into(), addresses: vec![auditor.to_string()], public_key: None },
            tls: node::RawTls { ca: tls("ca.pem"), cert: tls("cert.pem"), key: tls("key.pem") },
            limits: node::RawLimits::default(),
            commitments: node::RawCommitments::default(),
            metrics: None,
        };
        layout::write(&config, &to_toml(&raw)?)?;
    }
    let checked = holdfast_node::Checked::load(&config)?;
    let id = identity::load_or_create(&checked.identity_key, &checked.volume_dir())?.public().node_id();
    certificates::ensure(ca, &Subject::Node(id), &dir.join("tls"))?;
    let address = checked.listen.first().copied();
    let address = address.ok_or_else(|| Failure::file(&config, "expected an address to listen on, got none"))?;
    Ok(Member { name, id, zone, address, volume: checked.volume_dir(), config })
}

fn lay_out_client(layout: &Layout, ca: &ClusterCa, auditor: SocketAddr) -> Result<TlsMaterial, Failure> {
    let dir = layout.client_dir();
    let key = dir.join("owner.key");
    let owner = if key.exists() { OwnerKeyFile::load(&key)? } else { OwnerKeyFile::create(&key)? };
    let material = certificates::ensure(ca, &Subject::Client(owner.owner_id()), &dir.join("tls"))?;
    let path = layout.client_config();
    if !path.exists() {
        let config = ClientToml {
            auditors: vec![auditor.to_string()],
            tls_dir: "tls",
            owner_key: "owner.key",
            policy: "default",
            state_dir: "uploads",
        };
        layout::write(&path, &to_toml(&config)?)?;
    }
    Ok(material)
}

fn to_toml(value: &impl Serialize) -> Result<String, Failure> {
    toml::to_string(value).map_err(|error| Failure::Failed(format!("cannot write a configuration: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_finds_every_key_and_port_again() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::make(dir.path()).unwrap();
        let shape = Shape { nodes: 3, zones: 3, policy: "2+1".into(), profile: "demo".into() };
        let first = lay_out(&layout, shape.clone()).unwrap();
        let again = lay_out(&layout, Shape { nodes: 4, ..shape }).unwrap();
        assert_eq!(again.auditor, first.auditor);
        assert_eq!(again.client.key_digest(), first.client.key_digest());
        let known = |laid: &LaidOut| laid.members.iter().take(3).map(|it| (it.id, it.address)).collect::<Vec<_>>();
        assert_eq!(known(&again), known(&first));
        assert_eq!(again.members.len(), 4);
        assert_eq!(again.members[3].zone, "z1");
        assert_eq!(Shape::of(&layout.shape_file(), &Default::default()).unwrap().nodes, 4);
    }
}
