//! The listening side: accepts TCP, shakes hands, and hands on streams whose peer is known.
//!
//! Whoever connects is nobody until the handshake is done. Until then a peer holds one of few
//! places for a bounded time; afterwards one certificate holds a bounded number of connections.
//! Whatever does not fit waits in the kernel's backlog and takes nothing of ours.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time::{Instant, Sleep, sleep, sleep_until, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tracing::{debug, info, warn};

use crate::{
    ClusterName, KeyExchange, PeerIdentity, TlsMaterial, TransportError,
    identity::CertificateNames,
    limits::{
        CONNECTION_AGE_MAX, CONNECTION_WINDOW, CONNECTIONS_MAX, CONNECTIONS_PER_PEER, FRAME_LEN_MAX, HANDSHAKE_TIMEOUT,
        HANDSHAKES_MAX, HEADER_LIST_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, RECEIVE_LEN, STREAM_WINDOW,
        STREAMS_PER_CONNECTION,
    },
    occupancy::{Occupancy, Place},
    tls,
};

/// Connections that are through the handshake and not yet taken up by the gRPC server.
const READY_MAX: usize = 16;
/// After a failed accept (no file descriptors left, as a rule): trying at once would only burn CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The client's connection preface, RFC 9113 §3.4.
const PREFACE_LEN: usize = 24;

/// What peers may take of a listener. The default is the constants of [`crate::limits`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerLimits {
    /// See [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// See [`HANDSHAKES_MAX`].
    pub handshakes: usize,
    /// See [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// See [`CONNECTIONS_PER_PEER`].
    pub connections_per_peer: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            handshake_timeout: HANDSHAKE_TIMEOUT,
            handshakes: HANDSHAKES_MAX,
            connections: CONNECTIONS_MAX,
            connections_per_peer: CONNECTIONS_PER_PEER,
        }
    }
}

/// A gRPC server with the bounds of [`crate::limits`] set on its HTTP/2 connections. Message sizes
/// are set on each service: `.max_decoding_message_size(GRPC_MESSAGE_MAX)`.
pub fn builder() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_LEN_MAX)
        .http2_max_header_list_size(HEADER_LIST_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(CONNECTION_AGE_MAX)
}

/// A socket that takes mutual TLS 1.3 from members of the cluster only.
///
/// ```no_run
/// # async fn serve(material: holdfast_transport::TlsMaterial, routes: tonic::transport::server::Router)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use holdfast_transport::{Listener, ListenerLimits};
/// let listener = Listener::bind("[::1]:7700".parse()?, &material, ListenerLimits::default()).await?;
/// println!("listening on {}", listener.address());
/// routes.serve_with_incoming_shutdown(listener.incoming(), async { /* a signal */ }).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
}

impl Listener {
    /// Binds `address`; port 0 lets the operating system choose.
    ///
    /// # Errors
    /// [`TransportError::Listen`] if the address cannot be had, [`TransportError::Material`] if the
    /// certificate is of a role that does not listen.
    pub async fn bind(
        address: SocketAddr,
        material: &TlsMaterial,
        limits: ListenerLimits,
    ) -> Result<Self, TransportError> {
        let refused = |error: io::Error| TransportError::Listen { address, why: error.to_string() };
        // Every peer would refuse it; better that the operator hears it first.
        if !material.subject().role().listens() {
            let got = material.subject();
            let why = format!("expected a certificate of a node or an auditor to listen with, got one of {got}");
            return Err(TransportError::Material { why });
        }
        let door = Arc::new(Door {
            tls: TlsAcceptor::from(tls::server_config(material)?),
            cluster: material.cluster().clone(),
            limits,
            seats: Arc::new(Semaphore::new(limits.connections)),
            turns: Arc::new(Semaphore::new(limits.handshakes)),
            peers: Arc::default(),
        });
        let tcp = TcpListener::bind(address).await.map_err(refused)?;
        let address = tcp.local_addr().map_err(refused)?;
        Ok(Self { tcp, address, door })
    }

    /// Where it listens, with the port that the operating system chose.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept. Dropping the stream closes the socket and every handshake under way.
    /// Must be called within a tokio runtime.
    pub fn incoming(self) -> Incoming {
        let (out, ready) = mpsc::channel(READY_MAX);
        let accepting = tokio::spawn(accept(self.tcp, self.door, out)).abort_handle();
        Incoming { ready, accepting }
    }
}

/// Connections of known peers, for `serve_with_incoming_shutdown`. Failed handshakes are logged and
/// never seen here.
#[derive(Debug)]
pub struct Incoming {
    ready: mpsc::Receiver<PeerStream>,
    accepting: AbortHandle,
}

impl Stream for Incoming {
    type Item = io::Result<PeerStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|next| next.map(Ok))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What every handshake needs.
struct Door {
    tls: TlsAcceptor,
    cluster: ClusterName,
    limits: ListenerLimits,
    /// One for each connection, from before it is accepted until it ends.
    seats: Arc<Semaphore>,
    /// One for each handshake.
    turns: Arc<Semaphore>,
    peers: Arc<Occupancy>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("cluster", &self.cluster).field("limits", &self.limits).finish_non_exhaustive()
    }
}

async fn accept(tcp: TcpListener, door: Arc<Door>, out: mpsc::Sender<PeerStream>) {
    let mut handshakes = JoinSet::new();
    loop {
        // Before accept: whom we cannot serve must not cost us a descriptor.
        let Some((seat, turn)) = door.vacancy().await else { return };
        match tcp.accept().await {
            Ok((stream, remote)) => {
                handshakes.spawn(door.clone().admit(stream, remote, seat, turn, out.clone()));
            }
            Err(error) => {
                warn!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while handshakes.try_join_next().is_some() {}
    }
}

impl Door {
    /// `None` only if the semaphores were closed, which nobody does.
    async fn vacancy(&self) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        if self.seats.available_permits() == 0 {
            warn!(connections = self.limits.connections, "all connections are taken; further peers wait");
        }
        let seat = self.seats.clone().acquire_owned().await.ok()?;
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        Some((seat, turn))
    }

    async fn admit(
        self: Arc<Self>,
        tcp: TcpStream,
        remote: SocketAddr,
        seat: OwnedSemaphorePermit,
        turn: OwnedSemaphorePermit,
        out: mpsc::Sender<PeerStream>,
    ) {
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let (tls, identity) = match timeout_at(deadline, self.handshake(tcp)).await {
            Ok(Ok(known)) => known,
            Ok(Err(error)) => return info!(%remote, %error, "peer refused"),
            Err(_) => {
                let waited_ms = self.limits.handshake_timeout.as_millis();
                return info!(%remote, waited_ms, "peer dropped: no handshake in time");
            }
        };
        drop(turn);
        let Some(place) = self.peers.enter(&identity.subject, self.limits.connections_per_peer) else {
            let connections = self.limits.connections_per_peer;
            return warn!(%remote, peer = %identity.subject, connections, "peer refused: too many connections");
        };
        let (peer, key_exchange) = (&identity.subject, identity.key_exchange);
        match key_exchange {
            KeyExchange::Hybrid => debug!(%remote, %peer, %key_exchange, "peer connected"),
            KeyExchange::Classical => info!(%remote, %peer, %key_exchange, "foreign peer connected"),
        }
        let stream = PeerStream {
            tls,
            connection: Connection { identity: Arc::new(identity), remote },
            preface: Some(Preface { missing: PREFACE_LEN, deadline: Box::pin(sleep_until(deadline)) }),
            _place: place,
            _seat: seat,
        };
        // Refused only when the server is gone, and the connection goes with it.
        let _ = out.send(stream).await;
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
    ) -> Result<(TlsStream<BufReader<TcpStream>>, PeerIdentity), TransportError> {
        let broken = |error: io::Error| TransportError::from_handshake(&error);
        // Small messages, answered one by one: Nagle would hold each for a round trip.
        tcp.set_nodelay(true).map_err(broken)?;
        let tls = self.tls.accept(BufReader::with_capacity(RECEIVE_LEN, tcp)).await.map_err(broken)?;
        let session = tls.get_ref().1;
        let incomplete = |what: &str| TransportError::Handshake { why: format!("no {what} after the handshake") };
        let certificate =
            session.peer_certificates().and_then(<[_]>::first).ok_or_else(|| incomplete("certificate"))?;
        let names = CertificateNames::read(certificate, &self.cluster)?;
        let key_exchange = session
            .negotiated_key_exchange_group()
            .and_then(|group| KeyExchange::from_group(group.name()))
            .ok_or_else(|| incomplete("known key exchange"))?;
        if key_exchange == KeyExchange::Classical && !names.subject.role().may_be_classical() {
            return Err(TransportError::KeyExchange { got: names.subject });
        }
        let identity = names.with(self.cluster.clone(), key_exchange);
        Ok((tls, identity))
    }
}

/// Who a request comes from and from where: an extension of every request on a [`PeerStream`].
#[derive(Clone, Debug)]
pub struct Connection {
    /// The peer, as its certificate names it.
    pub identity: Arc<PeerIdentity>,
    /// Where it connects from.
    pub remote: SocketAddr,
}

/// One connection of a known peer. Gives its place back when dropped.
#[derive(Debug)]
pub struct PeerStream {
    tls: TlsStream<BufReader<TcpStream>>,
    connection: Connection,
    preface: Option<Preface>,
    _place: Place,
    _seat: OwnedSemaphorePermit,
}

/// The gRPC server itself would wait for ever for a peer that shakes hands and then says nothing.
#[derive(Debug)]
struct Preface {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connected for PeerStream {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.tls).poll_read(cx, buf);
        let Some(preface) = &mut this.preface else { return read };
        preface.missing = preface.missing.saturating_sub(buf.filled().len() - before);
        if preface.missing == 0 {
            this.preface = None;
        } else if read.is_pending() {
            ready!(preface.deadline.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(cx)
    }
}
