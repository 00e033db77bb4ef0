//! The one door without TLS, closed unless the configuration opens it: what a daemon counts, as OpenMetrics text, at
//! `GET /metrics`.
//!
//! It takes nothing from outside but the word `/metrics` and gives nothing but numbers, so that a scraper needs no
//! certificate; it is meant for the loopback interface all the same. Nothing is kept here: each scrape asks the
//! [`Counted`] for the numbers as they are at that moment.
//!
//! ```
//! use holdfast_transport::scrape::{Counted, Page, text};
//!
//! struct Shop(u64);
//!
//! impl Counted for Shop {
//!     fn tell(&self, page: &mut Page<'_>) -> std::fmt::Result {
//!         page.counter("shop_sales_total", "Sales since the start", self.0)?;
//!         page.gauges("shop_shelves", "Shelves by what is on them", [([("on", "bread")], 3), ([("on", "nothing")], 1)])
//!     }
//! }
//!
//! let page = text(std::sync::Arc::new(Shop(7))).unwrap();
//! assert!(page.contains("\nshop_sales_total 7\n") && page.contains("\nshop_shelves{on=\"bread\"} 3\n"));
//! ```

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus_client::{
    collector::Collector,
    encoding::{
        CounterValueEncoder, DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet,
        GaugeValueEncoder, MetricEncoder, NoLabelSet, text::encode,
    },
    metrics::MetricType,
    registry::Registry,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, error, warn};

use crate::TransportError;

/// Scrapers at once: a pair of servers and somebody with curl.
const CONNECTIONS_MAX: usize = 8;
/// From the connection to the last byte of the answer. Pages have some ten kilobytes.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request's line and headers; hyper's least. No body is read.
const HEAD_LEN_MAX: usize = 8 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// When the system has no descriptor left, asking again at once would only burn a core.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The form that Prometheus and its like read.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Who has numbers to tell.
pub trait Counted: Send + Sync + 'static {
    /// Writes them. Called for each scrape, on a thread that drives sockets: it reads what is in memory, and waits for
    /// no disk.
    ///
    /// # Errors
    /// The page's own.
    fn tell(&self, page: &mut Page<'_>) -> fmt::Result;
}

/// A number of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count, or bytes.
    Count(u64),
    /// Seconds.
    Seconds(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Value::Count(count)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Value::Seconds(time.as_secs_f64())
    }
}

impl EncodeGaugeValue for Value {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => EncodeGaugeValue::encode(count, encoder),
            Value::Seconds(seconds) => EncodeGaugeValue::encode(seconds, encoder),
        }
    }
}

impl EncodeCounterValue for Value {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => EncodeCounterValue::encode(count, encoder),
            Value::Seconds(seconds) => EncodeCounterValue::encode(seconds, encoder),
        }
    }
}

/// What a scrape is answered with, while it is written. Names are whole, with their unit; help ends without a stop.
pub struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A number that rises and falls.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Into<Value>) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value.into())
    }

    /// One number for each set of labels, each (name, value). The caller bounds how many there are.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn gauges<L: EncodeLabelSet, V: Into<Value>>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value.into()))
    }

    /// A number that only rises while the process lives; its name ends in `_total`.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Into<Value>) -> fmt::Result {
        count(&mut self.counters_of(name, help)?, value.into())
    }

    /// One such number for each set of labels.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn counters<L: EncodeLabelSet, V: Into<Value>>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.counters_of(name, help)?;
        values.into_iter().try_for_each(|(labels, value)| count(&mut family.encode_family(&labels)?, value.into()))
    }

    /// The form adds the ending itself.
    fn counters_of<'s>(&'s mut self, name: &'s str, help: &str) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name.trim_end_matches("_total"), help, None, MetricType::Counter)
    }
}

fn count(encoder: &mut MetricEncoder<'_>, value: Value) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// The page as text.
///
/// # Errors
/// The counted's own.
pub fn text(counted: Arc<dyn Counted>) -> Result<String, fmt::Error> {
    written(&registry(counted))
}

fn registry(counted: Arc<dyn Counted>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Asked(counted)));
    registry
}

fn written(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

struct Asked(Arc<dyn Counted>);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

impl Collector for Asked {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.tell(&mut Page(encoder))
    }
}

/// A bound door.
pub struct ScrapeListener {
    tcp: TcpListener,
    address: SocketAddr,
    time_max: Duration,
}

impl ScrapeListener {
    /// Binds it; port 0 lets the operating system choose.
    ///
    /// # Errors
    /// [`TransportError::Listen`] if the address cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, TransportError> {
        let refused = |error: io::Error| TransportError::Listen { address, why: error.to_string() };
        let tcp = TcpListener::bind(address).await.map_err(refused)?;
        let address = tcp.local_addr().map_err(refused)?;
        if !address.ip().is_loopback() {
            warn!(%address, "metrics are served without TLS beyond this machine; a loopback address keeps them on it");
        }
        Ok(Self { tcp, address, time_max: CONNECTION_TIME_MAX })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped, and with it every connection.
    pub async fn serve(self, counted: Arc<dyn Counted>) {
        let registry = Arc::new(registry(counted));
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = open.join_next() => {}
                accepted = self.tcp.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => drop(open.spawn(timeout(self.time_max, one(stream, Arc::clone(&registry))))),
                    Err(error) => {
                        warn!(%error, "no scrape can be taken");
                        sleep(ACCEPT_AGAIN).await;
                    }
                },
            }
        }
    }
}

/// One connection, one request: scrapes come seconds apart.
async fn one(stream: TcpStream, registry: Arc<Registry>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &registry);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let served = http1::Builder::new()
        // Instead of its own clock for headers, the connection has ours for everything.
        .header_read_timeout(None)
        .max_buf_size(HEAD_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = served.await {
        debug!(%error, "a scrape ended early");
    }
}

fn respond(method: &Method, path: &str, registry: &Registry) -> Response<Full<Bytes>> {
    if path != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "expected GET /metrics\n".into());
    }
    if method != Method::GET {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "expected GET /metrics\n".into());
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET"));
        return refused;
    }
    match written(registry) {
        Ok(text) => {
            let mut page = plain(StatusCode::OK, text);
            page.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(TEXT));
            page
        }
        Err(error) => {
            error!(%error, "the metrics cannot be written; this is a bug, report it");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written; see the daemon's log\n".into())
        }
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[derive(Default)]
    struct Asks(AtomicU64);

    impl Counted for Asks {
        fn tell(&self, page: &mut Page<'_>) -> fmt::Result {
            page.counter("test_asks_total", "Times asked", self.0.fetch_add(1, Ordering::Relaxed) + 1)?;
            page.counters("test_colours_total", "Seen", [([("colour", "red"), ("of", "sky")], 2)])?;
            page.gauge("test_age_seconds", "Age", Duration::from_millis(1500))
        }
    }

    async fn door() -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let door = ScrapeListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        (door.address(), tokio::spawn(door.serve(Arc::new(Asks::default()))))
    }

    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The other end may close before it has read a request that is too long.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn each_scrape_tells_the_numbers_of_its_moment() {
        let (address, _door) = door().await;
        for time in 1..=3 {
            let page = ask(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await;
            assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
            assert!(page.contains(TEXT) && page.ends_with("# EOF\n"), "{page}");
            assert!(page.contains(&format!("# TYPE test_asks counter\ntest_asks_total {time}\n")), "{page}");
            assert!(page.contains("test_colours_total{colour=\"red\",of=\"sky\"} 2\n"), "{page}");
            assert!(page.contains("# TYPE test_age_seconds gauge\ntest_age_seconds 1.5\n"), "{page}");
        }
    }

    #[tokio::test]
    async fn nothing_but_the_page_is_served() {
        let (address, _door) = door().await;
        let other = ask(address, b"GET /../etc/passwd HTTP/1.1\r\nHost: here\r\n\r\n").await;
        assert!(other.starts_with("HTTP/1.1 404"), "{other}");
        let posted = ask(address, b"POST /metrics HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n").await;
        assert!(posted.starts_with("HTTP/1.1 405") && posted.to_lowercase().contains("allow: get"), "{posted}");
    }

    /// Attack: a request whose headers do not end, to take memory.
    #[tokio::test]
    async fn a_request_without_an_end_is_cut_off() {
        let (address, _door) = door().await;
        let mut long = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
        long.resize(HEAD_LEN_MAX + 1024, b'a');
        let answer = ask(address, &long).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    /// Attack: connections that say nothing, to keep scrapers out.
    #[tokio::test]
    async fn silent_connections_lose_their_places() {
        let mut door = ScrapeListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        door.time_max = Duration::from_millis(200);
        let address = door.address();
        let _door = tokio::spawn(door.serve(Arc::new(Asks::default())));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let page = ask(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    }
}
