//! Bounds the requests that one peer has under way, over all its connections and streams.
//!
//! A request counts from its arrival until the last byte of its answer is sent or given up. One more
//! than allowed is answered at once, with the time to come back: waiting for a place would hold the
//! memory that the bound is there to save.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use holdfast_types::Millis;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{
    Connection, Role, busy,
    limits::{REQUESTS_PER_AUDITOR, REQUESTS_PER_PEER},
    occupancy::{Occupancy, Place},
};

/// Requests are short, so a place is free again soon.
const RETRY_AFTER: Millis = Millis::from_secs(1);

/// For `builder().layer(AdmissionLayer::default())`. Its clones share their counts.
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    requests: Arc<Occupancy>,
    per_peer: usize,
    per_auditor: usize,
}

impl AdmissionLayer {
    /// At most `per_peer` requests of one peer at once, `per_auditor` if it is an auditor.
    pub fn new(per_peer: usize, per_auditor: usize) -> Self {
        Self { requests: Arc::default(), per_peer, per_auditor }
    }
}

impl Default for AdmissionLayer {
    /// With [`REQUESTS_PER_PEER`] and [`REQUESTS_PER_AUDITOR`].
    fn default() -> Self {
        Self::new(REQUESTS_PER_PEER, REQUESTS_PER_AUDITOR)
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, layer: self.clone() }
    }
}

/// A service behind an [`AdmissionLayer`].
#[derive(Clone, Debug)]
pub struct Admission<S> {
    inner: S,
    layer: AdmissionLayer,
}

impl<S> Admission<S> {
    fn enter<B>(&self, request: &Request<B>) -> Result<Place, Status> {
        let unnamed = || Status::internal("a request without a peer; serve on a holdfast listener");
        let peer = &request.extensions().get::<Connection>().ok_or_else(unnamed)?.identity.subject;
        let max = match peer.role() {
            Role::Auditor => self.layer.per_auditor,
            Role::Node | Role::Client | Role::Gateway => self.layer.per_peer,
        };
        let full = || busy(RETRY_AFTER, &format!("expected at most {max} requests of {peer} at once, got one more"));
        self.layer.requests.enter(peer, max).ok_or_else(full)
    }
}

impl<S> Service<Request<Body>> for Admission<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let place = match self.enter(&request) {
            Ok(place) => place,
            Err(status) => return Box::pin(async { Ok(status.into_http()) }),
        };
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Body::new(Counted { body, place: Some(place) }))) })
    }
}

/// An answer that holds its request's place until it is sent.
struct Counted {
    body: Body,
    place: Option<Place>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            self.place = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
