//! What the authority issues, what it refuses, and what a process takes for usable.

#![allow(clippy::unwrap_used)]

mod cluster;

use std::{fs, os::unix::fs::PermissionsExt};

use cluster::{DAY, auditor, authority, client, issue, node, now};
use holdfast_transport::{ClusterCa, KeyRequest, TlsMaterial, TransportError, Validity};
use holdfast_types::{Millis, Wall};
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ED25519, SanType};

#[test]
fn an_authority_survives_the_disk_and_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("ca");
    let ca = authority("test");
    ca.save(&home).unwrap();
    assert_eq!(fs::metadata(home.join("ca-key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(authority("test").save(&home), Err(TransportError::File { .. })));

    let again = ClusterCa::load(&home).unwrap();
    assert_eq!(again.cluster(), ca.cluster());
    // What the one issued and what the other issued belong together.
    let issued = issue(&again, &node(1));
    TlsMaterial::from_pem(ca.cert_pem(), issued.cert_pem(), issued.key_pem(), now()).unwrap();
}

#[test]
fn an_authority_refuses_a_key_of_another() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority("test").save(one.path()).unwrap();
    authority("test").save(two.path()).unwrap();
    fs::copy(two.path().join("ca-key.pem"), one.path().join("ca-key.pem")).unwrap();
    assert!(ClusterCa::load(one.path()).unwrap_err().to_string().contains("another certificate"));
}

#[test]
fn material_survives_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority("test");
    issue(&ca, &auditor()).save(dir.path()).unwrap();
    let first = TlsMaterial::load(dir.path(), now()).unwrap();
    assert_eq!((first.subject(), first.cluster().as_str()), (&auditor(), "test"));
    assert_eq!(fs::metadata(dir.path().join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    issue(&ca, &auditor()).save(dir.path()).unwrap();
    let renewed = TlsMaterial::load(dir.path(), now()).unwrap();
    assert_ne!(first.key_digest(), renewed.key_digest());
}

#[test]
fn material_that_does_not_fit_is_refused_at_start() {
    let (ca, other) = (authority("test"), authority("other"));
    let (mine, hers) = (issue(&ca, &node(1)), issue(&ca, &node(2)));
    let why = |ca: &ClusterCa, cert: &str, key: &str, at: Wall| {
        TlsMaterial::from_pem(ca.cert_pem(), cert, key, at).unwrap_err().to_string()
    };
    let (cert, key) = (mine.cert_pem(), mine.key_pem());
    assert!(why(&ca, cert, hers.key_pem(), now()).contains("do not fit"));
    assert!(why(&ca, cert, key, now() + Millis(2 * DAY.0)).contains("expired"));
    assert!(why(&ca, cert, key, now() - DAY).contains("not valid yet"));
    assert!(why(&other, cert, key, now()).contains("cluster other"));
    assert!(why(&authority("test"), cert, key, now()).contains("another authority"));
    assert!(why(&ca, "", key, now()).contains("got none"));
    assert!(why(&ca, cert, "", now()).contains("private key"));
    assert!(why(&ca, ca.cert_pem(), key, now()).contains("/ca"));
    let leaf_as_ca = TlsMaterial::from_pem(cert, cert, key, now()).unwrap_err().to_string();
    assert!(leaf_as_ca.contains("expected the CA"), "{leaf_as_ca}");
    let two_cas = format!("{}{}", ca.cert_pem(), other.cert_pem());
    assert!(TlsMaterial::from_pem(&two_cas, cert, key, now()).is_err());
    let long = cert.repeat(9);
    assert!(why(&ca, &long, key, now()).contains("at most 8"));
}

/// Leaves that our authority would never write, signed with its own key: what if another tool had?
fn forge(ca: &ClusterCa, names: Vec<SanType>) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    ca.save(dir.path()).unwrap();
    let ca_key = KeyPair::from_pem(&fs::read_to_string(dir.path().join("ca-key.pem")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(ca.cert_pem(), ca_key).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
}

#[test]
fn a_certificate_must_name_exactly_one_member_of_this_cluster() {
    let ca = authority("test");
    let cluster = ca.cluster().clone();
    let uri = |text: String| SanType::URI(text.as_str().try_into().unwrap());
    let (one, two) = (uri(node(1).uri(&cluster)), uri(client(1).uri(&cluster)));
    let elsewhere = uri(node(1).uri(&"elsewhere".parse().unwrap()));
    let dns = SanType::DnsName("node.example".try_into().unwrap());
    let load = |names: Vec<SanType>| {
        let (cert, key) = forge(&ca, names);
        TlsMaterial::from_pem(ca.cert_pem(), &cert, &key, now())
    };
    load(vec![dns.clone(), one.clone()]).unwrap();
    for (names, word) in [
        (vec![], "no alternative names"),
        (vec![dns], "no URI"),
        (vec![one.clone(), two], "more than one URI"),
        (vec![one.clone(), one], "more than one URI"),
        (vec![uri("https://example.com/node/1".into())], "https://example.com"),
        (vec![uri("holdfast://test/ca".into())], "holdfast://test/ca"),
    ] {
        let error = load(names).unwrap_err();
        assert!(matches!(error, TransportError::Identity { .. }) && error.to_string().contains(word), "{error}");
    }
    assert!(matches!(load(vec![elsewhere]), Err(TransportError::Cluster { .. })));
}

#[test]
fn what_cannot_be_issued_is_refused_with_its_reason() {
    let ca = authority("test");
    let good = Validity::starting(now(), DAY);
    let why = |hosts: &[&str], validity| {
        let hosts: Vec<String> = hosts.iter().map(|h| (*h).to_owned()).collect();
        ca.issue(&node(1), &hosts, validity).unwrap_err().to_string()
    };
    assert!(why(&["host:7700"], good).contains("without a port"));
    assert!(why(&["auditor.holdfast.internal"], good).contains("of your own"));
    assert!(why(&["AUDITOR.Holdfast.Internal."], good).contains("of your own"));
    assert!(why(&["a.example"; 33], good).contains("at most 32"));
    assert!(why(&[], Validity { from: now(), until: now() }).contains("begins before"));
    assert!(why(&[], Validity { from: now(), until: Wall(u64::MAX) }).contains("before its authority"));
    assert!(why(&[], Validity::starting(now(), Millis(21 * 365 * DAY.0))).contains("before its authority"));
    assert!(ClusterCa::generate("test".parse().unwrap(), Wall(u64::MAX)).is_err());
}

#[test]
fn a_request_counts_only_if_signed_by_its_own_p256_key() {
    let ca = authority("test");
    let validity = Validity::starting(now(), DAY);
    let answer = |pem: &str| ca.issue_for_request(pem, &node(1), &[], validity);
    let request = KeyRequest::generate().unwrap();
    answer(request.request_pem()).unwrap();

    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let foreign = CertificateParams::default().serialize_request(&ed25519).unwrap().pem().unwrap();
    assert!(answer(&foreign).unwrap_err().to_string().contains("P-256"));
    let mut bent: Vec<u8> = request.request_pem().bytes().collect();
    let at = request.request_pem().len() / 2;
    bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
    assert!(answer(std::str::from_utf8(&bent).unwrap()).is_err());
    assert!(answer(ca.cert_pem()).is_err());

    // A request may ask to be anything; it gets what the operator said.
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["auditor.holdfast.internal".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("holdfast://test/auditor/me".try_into().unwrap()));
    let cheeky = params.serialize_request(&key).unwrap().pem().unwrap();
    let cert = answer(&cheeky).unwrap();
    let material = TlsMaterial::from_pem(ca.cert_pem(), &cert, &key.serialize_pem(), now()).unwrap();
    assert_eq!(*material.subject(), node(1));
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let parsed = rustls::server::ParsedCertificate::try_from(&der).unwrap();
    let holds =
        |name: &'static str| rustls::client::verify_server_name(&parsed, &ServerName::try_from(name).unwrap()).is_ok();
    assert!(holds("node.holdfast.internal") && !holds("auditor.holdfast.internal"));
}
