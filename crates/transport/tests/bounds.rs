//! What a peer can make us hold, and for how long. Real sockets.

#![allow(clippy::unwrap_used)]

mod cluster;

use std::time::{Duration, Instant};

use cluster::{
    V4, auditor, authority, call, client, connect,
    foreign::{self, HYBRID, V13},
    issue, material, node, serve_limited,
};
use holdfast_transport::{AdmissionLayer, Listener, ListenerLimits, Role, builder, retry_after};
use holdfast_types::Millis;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Long enough for a loopback handshake on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(1500);
/// No test waits longer than this for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn limits() -> ListenerLimits {
    ListenerLimits { handshake_timeout: SHORT, ..ListenerLimits::default() }
}

/// Reads until the peer hangs up, and says how long that took.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server hangs up");
    begun.elapsed()
}

#[tokio::test]
async fn a_silent_connection_is_dropped_after_the_handshake_timeout() {
    let ca = authority("test");
    let server = serve_limited(V4, &material(&ca, &node(1)), &[Role::Client], limits()).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let waited = until_closed(&mut silent).await;
    assert!(waited >= SHORT / 2 && waited < PATIENCE / 2, "{waited:?}");
}

#[tokio::test]
async fn a_peer_that_shakes_hands_and_then_says_nothing_is_dropped_too() {
    let ca = authority("test");
    let server = serve_limited(V4, &material(&ca, &node(1)), &[Role::Client], limits()).await;
    let config = || foreign::config(&ca, Some(&issue(&ca, &client(1))), HYBRID, V13);
    let mut silent = foreign::handshake(config(), &server).await.unwrap();
    // Part of HTTP/2's preface is not enough.
    let mut teasing = foreign::handshake(config(), &server).await.unwrap();
    teasing.write_all(b"PRI * HTTP/2.0").await.unwrap();
    teasing.flush().await.unwrap();
    assert!(until_closed(&mut silent).await < PATIENCE / 2);
    assert!(until_closed(&mut teasing).await < PATIENCE / 2);
}

#[tokio::test]
async fn a_connection_in_use_outlives_the_handshake_timeout() {
    let ca = authority("test");
    let server = serve_limited(V4, &material(&ca, &node(1)), &[Role::Client], limits()).await;
    let channel = connect(&material(&ca, &client(1)), node(1), &server).await.unwrap();
    call(channel.clone()).await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    call(channel).await.unwrap();
}

#[tokio::test]
async fn silent_peers_delay_others_by_no_more_than_the_timeout() {
    let ca = authority("test");
    let limits = ListenerLimits { handshakes: 2, ..limits() };
    let server = serve_limited(V4, &material(&ca, &node(1)), &[Role::Client], limits).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let channel = timeout(PATIENCE, connect(&material(&ca, &client(1)), node(1), &server)).await.unwrap().unwrap();
    call(channel).await.unwrap();
}

#[tokio::test]
async fn one_certificate_cannot_take_every_connection() {
    let ca = authority("test");
    let limits = ListenerLimits { connections_per_peer: 2, ..ListenerLimits::default() };
    let server = serve_limited(V4, &material(&ca, &node(1)), &[Role::Client, Role::Auditor], limits).await;
    let greedy = material(&ca, &client(1));
    let first = connect(&greedy, node(1), &server).await.unwrap();
    let second = connect(&greedy, node(1), &server).await.unwrap();
    assert!(connect(&greedy, node(1), &server).await.unwrap_err().is_transient());
    call(connect(&material(&ca, &auditor()), node(1), &server).await.unwrap()).await.unwrap();
    call(second).await.unwrap();
    call(first.clone()).await.unwrap();
    // A place given back is free again, as soon as the server has seen the connection end.
    drop(first);
    let again = async {
        while connect(&greedy, node(1), &server).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_full_house_makes_the_next_peer_wait_until_somebody_leaves() {
    let ca = authority("test");
    let limits = ListenerLimits { connections: 1, ..ListenerLimits::default() };
    let server = serve_limited(V4, &material(&ca, &node(1)), &[Role::Client], limits).await;
    let inside = connect(&material(&ca, &client(1)), node(1), &server).await.unwrap();
    call(inside.clone()).await.unwrap();
    let next = material(&ca, &client(2));
    let mut waiting = Box::pin(connect(&next, node(1), &server));
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    drop(inside);
    call(timeout(PATIENCE, waiting).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(server.seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_stopped_server_frees_its_port() {
    let ca = authority("test");
    let server = serve_limited(V4, &material(&ca, &node(1)), &[Role::Client], limits()).await;
    let address = server.address;
    let channel = connect(&material(&ca, &client(1)), node(1), &server).await.unwrap();
    call(channel).await.unwrap();
    server.stop().await;
    Listener::bind(address, &material(&ca, &node(1)), limits()).await.unwrap();
}

#[tokio::test]
async fn one_request_too_many_of_one_peer_is_answered_with_a_time_to_come_back() {
    let ca = authority("test");
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let listener =
        Listener::bind(V4.parse().unwrap(), &material(&ca, &node(1)), ListenerLimits::default()).await.unwrap();
    let address = listener.address();
    let routes = builder().layer(AdmissionLayer::new(2, 3)).add_service(health);
    let serving = tokio::spawn(routes.serve_with_incoming(listener.incoming()));

    let dial = |subject| {
        let dialer = holdfast_transport::Dialer::new(material(&ca, &subject));
        async move { dialer.connect(node(1), &[address.into()]).await.unwrap() }
    };
    // A watch lasts until it is dropped, so it holds its place; over two connections, one peer.
    let watch = || HealthCheckRequest { service: String::new() };
    let (one, two) = (dial(client(1)).await, dial(client(1)).await);
    let first = HealthClient::new(one.clone()).watch(watch()).await.unwrap();
    let _second = HealthClient::new(two).watch(watch()).await.unwrap();
    let refused = HealthClient::new(one.clone()).check(watch()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(retry_after(&refused), Some(Millis::from_secs(1)));

    call(dial(client(2)).await).await.unwrap();
    let auditor = dial(auditor()).await;
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(HealthClient::new(auditor.clone()).watch(watch()).await.unwrap());
    }
    assert_eq!(HealthClient::new(auditor).check(watch()).await.unwrap_err().code(), Code::ResourceExhausted);

    drop(first);
    let again = async {
        while call(one.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    serving.abort();
}
