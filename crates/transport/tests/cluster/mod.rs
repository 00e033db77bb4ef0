//! A cluster on the loopback: an authority, peers, and a real server (gRPC health) that notes who
//! called it.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod foreign;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use holdfast_transport::{
    Address, ClusterCa, Dialer, Issued, Listener, ListenerLimits, PeerIdentity, Role, Subject, TlsMaterial,
    TransportError, Validity, builder, peer, require_role,
};
use holdfast_types::{Millis, NodeId, OwnerId, Wall};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Request, Status, service::interceptor::InterceptedService, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

pub(crate) const DAY: Millis = Millis::from_secs(86_400);
pub(crate) const V4: &str = "127.0.0.1:0";
pub(crate) const V6: &str = "[::1]:0";

pub(crate) fn now() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

pub(crate) fn node(byte: u8) -> Subject {
    Subject::Node(NodeId([byte; 32]))
}

pub(crate) fn client(byte: u8) -> Subject {
    Subject::Client(OwnerId([byte; 32]))
}

pub(crate) fn auditor() -> Subject {
    Subject::Auditor("auditor-1".parse().unwrap())
}

pub(crate) fn authority(cluster: &str) -> ClusterCa {
    ClusterCa::generate(cluster.parse().unwrap(), now()).unwrap()
}

/// An authority made in the past.
pub(crate) fn authority_since(made: Wall) -> ClusterCa {
    ClusterCa::generate("test".parse().unwrap(), made).unwrap()
}

pub(crate) fn issue(ca: &ClusterCa, subject: &Subject) -> Issued {
    ca.issue(subject, &["localhost".into(), "127.0.0.1".into(), "::1".into()], Validity::starting(now(), DAY)).unwrap()
}

pub(crate) fn material(ca: &ClusterCa, subject: &Subject) -> TlsMaterial {
    issue(ca, subject).material(now()).unwrap()
}

/// Valid a day, until an hour ago; the material itself was loaded while it was still good.
pub(crate) fn expired(ca: &ClusterCa, subject: &Subject) -> TlsMaterial {
    let (from, until) = (now() - Millis(25 * 3_600_000), now() - Millis(3_600_000));
    let issued = ca.issue(subject, &[], Validity { from, until }).unwrap();
    issued.material(until - Millis(1000)).unwrap()
}

pub(crate) type Seen = Arc<Mutex<Vec<PeerIdentity>>>;

/// A gRPC server in this process; stops when dropped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) done: JoinHandle<()>,
}

impl Serving {
    pub(crate) fn at(&self) -> Vec<Address> {
        vec![self.address.into()]
    }

    /// Ends as a daemon does: no new connections, requests under way finish.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.done.await.unwrap();
    }
}

/// Serves grpc.health.v1 to peers of `roles`.
pub(crate) async fn serve(bind: &str, material: &TlsMaterial, roles: &'static [Role]) -> Serving {
    serve_limited(bind, material, roles, ListenerLimits::default()).await
}

pub(crate) async fn serve_limited(
    bind: &str,
    material: &TlsMaterial,
    roles: &'static [Role],
    limits: ListenerLimits,
) -> Serving {
    let listener = Listener::bind(bind.parse().unwrap(), material, limits).await.unwrap();
    let address = listener.address();
    let seen = Seen::default();
    let notes = seen.clone();
    let guard = move |request: Request<()>| -> Result<Request<()>, Status> {
        notes.lock().unwrap().push(peer(&request)?.clone());
        require_role(&request, roles)?;
        Ok(request)
    };
    let (_reporter, health) = tonic_health::server::health_reporter();
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = builder().add_service(InterceptedService::new(health, guard));
    let done = tokio::spawn(async move {
        let signal = async {
            let _ = stopped.await;
        };
        routes.serve_with_incoming_shutdown(listener.incoming(), signal).await.unwrap();
    });
    Serving { address, seen, stop: Some(stop), done }
}

pub(crate) async fn call(channel: Channel) -> Result<(), Status> {
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await?.into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    Ok(())
}

pub(crate) async fn connect(
    material: &TlsMaterial,
    expected: impl Into<holdfast_transport::Expected>,
    serving: &Serving,
) -> Result<Channel, TransportError> {
    Dialer::new(material.clone()).connect(expected, &serving.at()).await
}
