//! Who is let in, who is not, and what each is told. Real sockets on the loopback.

#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{
    DAY, V4, V6, auditor, authority, authority_since, call, client, connect, expired,
    foreign::{self, HYBRID, V13},
    issue, material, node, now, serve,
};
use holdfast_transport::{
    Address, Dialer, KeyExchange, KeyRequest, Listener, ListenerLimits, Role, Subject, TlsMaterial, TransportError,
    Validity,
};
use holdfast_types::Millis;
use tokio::net::TcpListener;
use tonic::Code;

#[tokio::test]
async fn members_of_a_cluster_know_each_other_and_agree_on_hybrid_keys() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Auditor]).await;
    let ours = material(&ca, &auditor());
    call(connect(&ours, node(1), &server).await.unwrap()).await.unwrap();

    let seen = server.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].subject, auditor());
    assert_eq!(seen[0].cluster, *ca.cluster());
    assert_eq!(seen[0].key_exchange, KeyExchange::Hybrid);
    assert_eq!(seen[0].key_exchange.to_string(), "X25519MLKEM768");
    assert_eq!(seen[0].key_digest, *ours.key_digest());
    assert_eq!(seen[0].expires, ours.expires());
}

#[tokio::test]
async fn everything_works_over_ipv6() {
    let ca = authority("test");
    let server = serve(V6, &material(&ca, &node(1)), &[Role::Client]).await;
    assert!(server.address.is_ipv6());
    call(connect(&material(&ca, &client(1)), node(1), &server).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_the_server() {
    let (ca, other) = (authority("test"), authority("test"));
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Client]).await;
    // A leaf of the other authority, under a client that trusts ours.
    let theirs = other.issue(&client(1), &[], Validity::starting(now(), DAY)).unwrap();
    assert!(
        TlsMaterial::from_pem(ca.cert_pem(), theirs.cert_pem(), theirs.key_pem(), now()).is_err(),
        "such material is refused before it is used"
    );
    let error = foreign::connect_trusting(&ca, &theirs, &server).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. }), "{error}");
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_by_the_client() {
    let (ca, other) = (authority("test"), authority("test"));
    let server = serve(V4, &material(&other, &node(1)), &[Role::Client]).await;
    let error = connect(&material(&ca, &client(1)), node(1), &server).await.unwrap_err();
    assert!(matches!(&error, TransportError::Handshake { why } if why.contains("another authority")), "{error}");
}

#[tokio::test]
async fn another_node_at_the_address_is_refused_and_named() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &node(2)), &[Role::Client]).await;
    let error = connect(&material(&ca, &client(1)), node(1), &server).await.unwrap_err();
    assert_eq!(error, TransportError::Peer { expected: node(1).into(), got: node(2) });
}

#[tokio::test]
async fn another_role_at_the_address_is_refused_and_named() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Client]).await;
    let error = connect(&material(&ca, &client(1)), Role::Auditor, &server).await.unwrap_err();
    assert_eq!(error, TransportError::Peer { expected: Role::Auditor.into(), got: node(1) });
}

#[tokio::test]
async fn a_client_certificate_cannot_serve() {
    let ca = authority("test");
    let error = Listener::bind(V4.parse().unwrap(), &material(&ca, &client(1)), ListenerLimits::default()).await;
    assert!(error.unwrap_err().to_string().contains("certificate of a node or an auditor"));

    // Other software may try all the same.
    let (address, outcome) = foreign::server(&ca, &issue(&ca, &client(1)), HYBRID, V13).await;
    let error = Dialer::new(material(&ca, &client(2))).connect(client(1), &[address.into()]).await.unwrap_err();
    assert!(matches!(&error, TransportError::Handshake { why } if why.contains("extended key usage")), "{error}");
    assert!(outcome.await.unwrap().is_err());
}

#[tokio::test]
async fn a_caller_of_the_wrong_role_is_denied_what_its_role_may_not() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Auditor]).await;
    let channel = connect(&material(&ca, &client(1)), node(1), &server).await.unwrap();
    let status = call(channel).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("role auditor"), "{status}");
}

#[tokio::test]
async fn an_expired_client_is_refused_and_told_so() {
    // Issued in the past, by an authority that was there in the past.
    let ca = authority_since(now() - Millis(48 * 3_600_000));
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Client]).await;
    let error = connect(&expired(&ca, &client(1)), node(1), &server).await.unwrap_err();
    assert_eq!(error, TransportError::Refused { alert: "CertificateExpired".into() });
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_expired_server_is_refused() {
    let ca = authority_since(now() - Millis(48 * 3_600_000));
    let server = serve(V4, &expired(&ca, &node(1)), &[Role::Client]).await;
    let error = connect(&material(&ca, &client(1)), node(1), &server).await.unwrap_err();
    assert!(matches!(&error, TransportError::Handshake { why } if why.contains("expired")), "{error}");
}

#[tokio::test]
async fn addresses_are_tried_in_order_until_the_right_peer_answers() {
    let ca = authority("test");
    let dead = TcpListener::bind(V4).await.unwrap().local_addr().unwrap();
    let stale = serve(V4, &material(&ca, &node(2)), &[Role::Client]).await;
    let right = serve(V6, &material(&ca, &node(1)), &[Role::Client]).await;
    let addresses: Vec<Address> = vec![dead.into(), stale.address.into(), right.address.into()];
    let dialer = Dialer::new(material(&ca, &client(1)));
    call(dialer.connect(node(1), &addresses).await.unwrap()).await.unwrap();
    assert_eq!(right.seen.lock().unwrap().len(), 1);

    let error = dialer.connect(node(1), &addresses[..2]).await.unwrap_err();
    let TransportError::AllAddresses { attempts, .. } = &error else { panic!("{error}") };
    assert!(matches!(attempts[0].1, TransportError::Unreachable { .. }), "{error}");
    assert_eq!(attempts[1].1, TransportError::Peer { expected: node(1).into(), got: node(2) });
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_host_name_is_resolved_and_decides_nothing() {
    let ca = authority("test");
    // The server's certificate names no host at all.
    let issued = ca.issue(&node(1), &[], Validity::starting(now(), DAY)).unwrap();
    let server = serve(V4, &issued.material(now()).unwrap(), &[Role::Client]).await;
    let named: Address = format!("localhost:{}", server.address.port()).parse().unwrap();
    let dialer = Dialer::new(material(&ca, &client(1)));
    call(dialer.connect(node(1), &[named]).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_channel_finds_its_peer_again_after_a_restart() {
    let ca = authority("test");
    let server = serve(V4, &material(&ca, &node(1)), &[Role::Client]).await;
    let channel = connect(&material(&ca, &client(1)), node(1), &server).await.unwrap();
    call(channel.clone()).await.unwrap();
    let address = server.address;
    server.stop().await;
    let error = call(channel.clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);

    // Another node on the old address is not taken for the first, by the same channel either.
    let usurper = serve(&address.to_string(), &material(&ca, &node(2)), &[Role::Client]).await;
    let error = call(channel.clone()).await.unwrap_err();
    let expected = TransportError::Peer { expected: node(1).into(), got: node(2) };
    assert_eq!(TransportError::find_in(&error), Some(&expected), "{error}");
    usurper.stop().await;

    let _again = serve(&address.to_string(), &material(&ca, &node(1)), &[Role::Client]).await;
    call(channel).await.unwrap();
}

#[tokio::test]
async fn a_lazy_channel_says_why_it_could_not_be_made() {
    let ca = authority("test");
    let dead = TcpListener::bind(V4).await.unwrap().local_addr().unwrap();
    let channel = Dialer::new(material(&ca, &client(1))).connect_lazy(node(1), &[dead.into()]).unwrap();
    let status = call(channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(matches!(TransportError::find_in(&status), Some(TransportError::Unreachable { .. })), "{status:?}");
}

#[tokio::test]
async fn a_dialer_wants_a_sensible_number_of_addresses() {
    let ca = authority("test");
    let dialer = Dialer::new(material(&ca, &client(1)));
    let many = vec![Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1))); 17];
    for addresses in [&many[..0], &many[..]] {
        let error = dialer.connect(node(1), addresses).await.unwrap_err();
        assert!(matches!(error, TransportError::Addresses { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_made_for_a_request_works_and_its_key_never_left() {
    let ca = authority("test");
    let dir = tempfile::tempdir().unwrap();
    let request = KeyRequest::generate().unwrap();
    request.save(dir.path()).unwrap();
    let cert = ca.issue_for_request(request.request_pem(), &node(1), &[], Validity::starting(now(), DAY)).unwrap();
    std::fs::write(dir.path().join("cert.pem"), cert).unwrap();
    std::fs::write(dir.path().join("ca.pem"), ca.cert_pem()).unwrap();
    let server = serve(V4, &TlsMaterial::load(dir.path(), now()).unwrap(), &[Role::Gateway]).await;
    let gateway = Subject::Gateway("edge".parse().unwrap());
    let ours = issue(&ca, &gateway).material(now()).unwrap();
    call(connect(&ours, node(1), &server).await.unwrap()).await.unwrap();
    assert_eq!(server.seen.lock().unwrap()[0].subject, gateway);
}
