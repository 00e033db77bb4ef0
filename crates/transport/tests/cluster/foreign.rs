//! Peers that are not ours: plain rustls with other groups, versions and certificates.

use std::{io, sync::Arc, time::Duration};

use holdfast_transport::{ClusterCa, Issued, TransportError};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{default_provider, kx_group},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::{
    io::AsyncBufReadExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use super::Serving;

pub(crate) static X25519_ONLY: &[&dyn SupportedKxGroup] = &[kx_group::X25519];
pub(crate) static HYBRID: &[&dyn SupportedKxGroup] = &[kx_group::X25519MLKEM768];
pub(crate) static P256_ONLY: &[&dyn SupportedKxGroup] = &[kx_group::SECP256R1];
pub(crate) static V12: &[&SupportedProtocolVersion] = &[&TLS12];
pub(crate) static V13: &[&SupportedProtocolVersion] = &[&TLS13];

fn provider(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: groups.to_vec(), ..default_provider() })
}

fn roots(ca_pem: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    Arc::new(roots)
}

fn identity(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(issued.cert_pem().as_bytes()).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).unwrap())
}

/// A stock TLS client: verifies host names as everybody does.
pub(crate) fn config(
    ca: &ClusterCa,
    issued: Option<&Issued>,
    groups: &[&'static dyn SupportedKxGroup],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let wanted = ClientConfig::builder_with_provider(provider(groups))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(ca.cert_pem()));
    let mut config = match issued {
        Some(issued) => {
            let (chain, key) = identity(issued);
            wanted.with_client_auth_cert(chain, key).unwrap()
        }
        None => wanted.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Handshake, and the server's first bytes: without them a TLS 1.3 client does not know whether its
/// certificate was taken.
pub(crate) async fn handshake(config: ClientConfig, server: &Serving) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(server.address).await?;
    let name = ServerName::from(server.address.ip());
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    match timeout(Duration::from_secs(10), tls.fill_buf()).await.expect("the server says something")? {
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(tls),
    }
}

pub(crate) fn group(tls: &TlsStream<TcpStream>) -> NamedGroup {
    tls.get_ref().1.negotiated_key_exchange_group().unwrap().name()
}

/// gRPC over a stream that is already there.
pub(crate) async fn channel(tls: TlsStream<TcpStream>) -> Channel {
    let mut once = Some(tls);
    let connector = tower::service_fn(move |_| {
        let stream = once.take();
        async move { stream.map(TokioIo::new).ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
    });
    Endpoint::from_static("https://127.0.0.1").connect_with_connector(connector).await.unwrap()
}

/// The rustls error inside an `io::Error`.
pub(crate) fn tls_error(error: &io::Error) -> String {
    error.get_ref().map_or_else(|| error.to_string(), |inner| format!("{inner:?}"))
}

/// A server that shakes hands with `groups` only and requires a client certificate; returns its
/// address and the outcome of its one handshake.
pub(crate) async fn server(
    ca: &ClusterCa,
    issued: &Issued,
    groups: &[&'static dyn SupportedKxGroup],
    versions: &[&'static SupportedProtocolVersion],
) -> (std::net::SocketAddr, tokio::task::JoinHandle<io::Result<()>>) {
    let provider = provider(groups);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca.cert_pem()), provider.clone()).build().unwrap();
    let (chain, key) = identity(issued);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let outcome = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await?;
        TlsAcceptor::from(Arc::new(config)).accept(tcp).await.map(|_| ())
    });
    (address, outcome)
}

/// As our own client, but with a leaf that our material would refuse to load.
pub(crate) async fn connect_trusting(ca: &ClusterCa, leaf: &Issued, serving: &Serving) -> Result<(), TransportError> {
    let config = config(ca, Some(leaf), HYBRID, V13);
    handshake(config, serving).await.map(|_| ()).map_err(|error| TransportError::Refused { alert: tls_error(&error) })
}
