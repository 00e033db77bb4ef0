//! The dialing side: from a list of addresses to a gRPC channel of the peer that was wanted.
//!
//! Addresses are tried in order, each for a bounded time; what answers must prove, by its
//! certificate, that it is the expected peer, or the next address is tried. The channel dials anew,
//! by the same rules, whenever its connection is lost.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use tower::Service;
use tracing::debug;

use crate::{
    Role, Subject, TlsMaterial, TransportError,
    error::printable,
    limits::{
        ACCEPTANCE_TIMEOUT, ADDRESSES_MAX, CONNECTION_WINDOW, DIAL_TIMEOUT, FRAME_LEN_MAX, HEADER_LIST_MAX,
        KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, RECEIVE_LEN, STREAM_WINDOW,
    },
    tls,
};

/// Where a peer may be found: `host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address(String);

impl FromStr for Address {
    type Err = TransportError;
    fn from_str(text: &str) -> Result<Self, TransportError> {
        let is_name = || {
            let (host, port) = text.rsplit_once(':')?;
            let named = matches!(ServerName::try_from(host), Ok(ServerName::DnsName(_)));
            (named && port.parse::<u16>().ok()? != 0).then_some(())
        };
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(Self(text.to_owned())),
            Err(_) if is_name().is_some() => Ok(Self(text.to_owned())),
            Ok(_) | Err(_) => Err(TransportError::Addresses { got: format!("{:?}", printable(text)) }),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a dialer takes for the one it wanted. Always of its own cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expected {
    /// This peer and no other.
    Subject(Subject),
    /// Any peer of this role.
    Role(Role),
}

impl Expected {
    pub(crate) fn admit(&self, got: &Subject) -> Result<(), TransportError> {
        let admitted = match self {
            Self::Subject(subject) => subject == got,
            Self::Role(role) => *role == got.role(),
        };
        if admitted { Ok(()) } else { Err(TransportError::Peer { expected: self.clone(), got: got.clone() }) }
    }

    /// What stands in the request as its authority; nothing is decided by it.
    fn authority(&self) -> String {
        match self {
            Self::Subject(subject) => subject.dns_names()[0].clone(),
            Self::Role(role) => format!("{role}.holdfast.internal"),
        }
    }
}

impl From<Subject> for Expected {
    fn from(subject: Subject) -> Self {
        Self::Subject(subject)
    }
}

impl From<Role> for Expected {
    fn from(role: Role) -> Self {
        Self::Role(role)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(subject) => subject.fmt(f),
            Self::Role(role) => write!(f, "any {role}"),
        }
    }
}

/// Makes channels under one identity.
///
/// ```no_run
/// # async fn dial(material: holdfast_transport::TlsMaterial) -> Result<(), holdfast_transport::TransportError> {
/// use holdfast_transport::{Address, Dialer, Role};
/// let addresses: Vec<Address> = vec!["auditor.example:7700".parse()?, "[2001:db8::7]:7700".parse()?];
/// let channel = Dialer::new(material).connect(Role::Auditor, &addresses).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Dialer {
    material: TlsMaterial,
}

impl Dialer {
    /// A dialer that presents `material`.
    pub const fn new(material: TlsMaterial) -> Self {
        Self { material }
    }

    /// A channel with its first connection made. Message sizes are set on each stub:
    /// `.max_decoding_message_size(GRPC_MESSAGE_MAX)`.
    ///
    /// # Errors
    /// The reason of the only address, or [`TransportError::AllAddresses`] with each one's.
    pub async fn connect(
        &self,
        expected: impl Into<Expected>,
        addresses: &[Address],
    ) -> Result<Channel, TransportError> {
        let (endpoint, connector) = self.route(expected.into(), addresses)?;
        let authority = endpoint.uri().to_string();
        endpoint.connect_with_connector(connector).await.map_err(|error| match TransportError::find_in(&error) {
            Some(ours) => ours.clone(),
            None => TransportError::Unreachable { address: authority, why: format!("HTTP/2 failed ({error})") },
        })
    }

    /// A channel that dials when it is first used. A call that fails for it carries the
    /// [`TransportError`] in its sources: see [`TransportError::find_in`].
    ///
    /// # Errors
    /// [`TransportError::Addresses`] if there are none or too many.
    pub fn connect_lazy(
        &self,
        expected: impl Into<Expected>,
        addresses: &[Address],
    ) -> Result<Channel, TransportError> {
        let (endpoint, connector) = self.route(expected.into(), addresses)?;
        Ok(endpoint.connect_with_connector_lazy(connector))
    }

    fn route(&self, expected: Expected, addresses: &[Address]) -> Result<(Endpoint, Connector), TransportError> {
        if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(TransportError::Addresses { got: format!("{} addresses", addresses.len()) });
        }
        let uri = format!("https://{}", expected.authority());
        let endpoint = Endpoint::from_shared(uri)
            .map_err(|e| TransportError::Addresses { got: e.to_string() })?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_LEN_MAX)
            .http2_max_header_list_size(HEADER_LIST_MAX)
            // Not while idle: stock servers cut off peers that ping without a call.
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let tls = TlsConnector::from(tls::client_config(&self.material, expected.clone())?);
        Ok((endpoint, Connector(Arc::new(Route { addresses: addresses.to_vec(), expected, tls }))))
    }
}

/// What tonic calls whenever the channel has no connection.
#[derive(Clone)]
struct Connector(Arc<Route>);

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<BufReader<TcpStream>>>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TransportError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _authority: Uri) -> Self::Future {
        let route = self.0.clone();
        Box::pin(async move { route.dial().await.map(TokioIo::new) })
    }
}

struct Route {
    addresses: Vec<Address>,
    expected: Expected,
    tls: TlsConnector,
}

impl Route {
    async fn dial(&self) -> Result<TlsStream<BufReader<TcpStream>>, TransportError> {
        let mut attempts = Vec::new();
        for address in &self.addresses {
            let candidates = match resolve(address).await {
                Ok(candidates) => candidates,
                Err(error) => {
                    attempts.push((address.to_string(), error));
                    continue;
                }
            };
            for candidate in candidates {
                let tried =
                    timeout(DIAL_TIMEOUT, self.reach(candidate)).await.unwrap_or_else(|_| Err(silent(&candidate)));
                match tried {
                    Ok(stream) => return Ok(stream),
                    Err(error) => {
                        debug!(expected = %self.expected, address = %candidate, %error, "address failed");
                        attempts.push((candidate.to_string(), error));
                    }
                }
            }
        }
        match <[_; 1]>::try_from(attempts) {
            Ok([(_, only)]) => Err(only),
            Err(attempts) => Err(TransportError::AllAddresses { expected: self.expected.clone(), attempts }),
        }
    }

    async fn reach(&self, address: SocketAddr) -> Result<TlsStream<BufReader<TcpStream>>, TransportError> {
        let failed =
            |error: io::Error| TransportError::Unreachable { address: address.to_string(), why: error.to_string() };
        let broken = |error: io::Error| TransportError::from_handshake(&error);
        let tcp = TcpStream::connect(address).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let tcp = BufReader::with_capacity(RECEIVE_LEN, tcp);
        let mut tls = self.tls.connect(ServerName::from(address.ip()), tcp).await.map_err(broken)?;
        let group = tls.get_ref().1.negotiated_key_exchange_group().map(|group| group.name());
        // Nothing else was offered; a server that found another way in is not to be trusted.
        if group != Some(tls::HYBRID) {
            return Err(TransportError::Handshake { why: format!("the keys were agreed by {group:?}") });
        }
        // In TLS 1.3 the client is done before the server has seen the client's certificate. Its
        // first frame says that it took it; an alert in its place says why not.
        match timeout(ACCEPTANCE_TIMEOUT, tls.fill_buf()).await {
            Ok(Ok([])) => Err(TransportError::Interrupted { why: "closed right after the handshake".into() }),
            Ok(Err(error)) => Err(broken(error)),
            Ok(Ok(_)) | Err(_) => Ok(tls),
        }
    }
}

async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, TransportError> {
    let failed = |why: String| TransportError::Unreachable { address: address.to_string(), why };
    match timeout(DIAL_TIMEOUT, lookup_host(&address.0)).await {
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
            if found.is_empty() { Err(failed("the name has no address".into())) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("the name was not resolved within {DIAL_TIMEOUT:?}"))),
    }
}

fn silent(address: &SocketAddr) -> TransportError {
    TransportError::Unreachable { address: address.to_string(), why: format!("no answer within {DIAL_TIMEOUT:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:1", "[::1]:7700", "node-1.example:65535", "localhost:7700"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in
            ["", "localhost", "localhost:0", "127.0.0.1:0", "::1:7700x", "a b:1", ":1", "host:65536", "https://host:1"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
