//! Peers that are not our binaries: what they get, and what they do not. Real sockets.

#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{
    V4, auditor, authority, call, client, connect,
    foreign::{self, P256_ONLY, V12, V13, X25519_ONLY},
    issue, material, node, serve,
};
use holdfast_transport::{Dialer, KeyExchange, Role, TransportError};
use rustls::{NamedGroup, crypto::aws_lc_rs::kx_group};

#[tokio::test]
async fn a_foreign_client_with_plain_x25519_is_served_and_flagged() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &auditor()), &[Role::Client]).await;
    let config = foreign::config(&ca, Some(&issue(&ca, &client(1))), X25519_ONLY, V13);
    let tls = foreign::handshake(config, &server).await.unwrap();
    assert_eq!(foreign::group(&tls), NamedGroup::X25519);
    call(foreign::channel(tls).await).await.unwrap();
    let seen = server.seen.lock().unwrap().clone();
    assert_eq!((seen[0].key_exchange, &seen[0].subject), (KeyExchange::Classical, &client(1)));
}

#[tokio::test]
async fn a_foreign_client_that_can_do_better_does_better() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &auditor()), &[Role::Client]).await;
    let groups = [kx_group::X25519MLKEM768, kx_group::X25519];
    let tls =
        foreign::handshake(foreign::config(&ca, Some(&issue(&ca, &client(1))), &groups, V13), &server).await.unwrap();
    assert_eq!(foreign::group(&tls), NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn only_clients_may_come_with_plain_x25519() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &auditor()), &[Role::Node]).await;
    for subject in [node(1), auditor(), holdfast_transport::Subject::Gateway("edge".parse().unwrap())] {
        let config = foreign::config(&ca, Some(&issue(&ca, &subject)), X25519_ONLY, V13);
        assert!(foreign::handshake(config, &server).await.is_err(), "{subject}");
    }
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Client]).await;
    let error = foreign::handshake(foreign::config(&ca, None, X25519_ONLY, V13), &server).await.unwrap_err();
    assert_eq!(foreign::tls_error(&error), "AlertReceived(CertificateRequired)");
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Client]).await;
    let config = foreign::config(&ca, Some(&issue(&ca, &client(1))), X25519_ONLY, V12);
    let error = foreign::handshake(config, &server).await.unwrap_err();
    assert_eq!(foreign::tls_error(&error), "AlertReceived(ProtocolVersion)");
}

#[tokio::test]
async fn other_groups_are_refused() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Client]).await;
    let config = foreign::config(&ca, Some(&issue(&ca, &client(1))), P256_ONLY, V13);
    let error = foreign::handshake(config, &server).await.unwrap_err();
    assert_eq!(foreign::tls_error(&error), "AlertReceived(HandshakeFailure)");
}

#[tokio::test]
async fn our_client_refuses_a_server_with_plain_x25519_only() {
    let ca = authority("test");
    let (address, outcome) = foreign::server(&ca, &issue(&ca, &node(1)), X25519_ONLY, V13).await;
    let error = Dialer::new(material(&ca, &client(1))).connect(node(1), &[address.into()]).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. } | TransportError::Handshake { .. }), "{error}");
    assert!(!error.is_transient());
    let theirs = outcome.await.unwrap().unwrap_err();
    assert!(foreign::tls_error(&theirs).contains("NoKxGroupsInCommon"), "{theirs}");
}

#[tokio::test]
async fn our_client_refuses_a_server_with_tls_1_2_only() {
    let ca = authority("test");
    let (address, outcome) = foreign::server(&ca, &issue(&ca, &node(1)), X25519_ONLY, V12).await;
    let error = Dialer::new(material(&ca, &client(1))).connect(node(1), &[address.into()]).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. } | TransportError::Handshake { .. }), "{error}");
    assert!(outcome.await.unwrap().is_err());
}

#[tokio::test]
async fn a_stock_client_may_verify_by_the_fixed_name_of_the_role() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &auditor()), &[Role::Client]).await;
    let tcp = || tokio::net::TcpStream::connect(server.address);
    for (name, good) in [
        ("auditor.holdfast.internal", true),
        ("auditor-1.auditor.holdfast.internal", true),
        ("node.holdfast.internal", false),
        ("auditor-2.auditor.holdfast.internal", false),
    ] {
        let config = foreign::config(&ca, Some(&issue(&ca, &client(1))), X25519_ONLY, V13);
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let outcome = connector.connect(name.try_into().unwrap(), tcp().await.unwrap()).await;
        assert_eq!(outcome.is_ok(), good, "{name}");
    }
    let channel = connect(&material(&ca, &client(1)), Role::Auditor, &server).await.unwrap();
    call(channel).await.unwrap();
}
