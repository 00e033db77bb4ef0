//! One pass over what is left of a get: parts in order, the next two being fetched while this one is put together, opened
//! and written. With one on its way the processors would wait whenever its last shard does.

use std::{collections::VecDeque, io::Write};

use holdfast_dispersal::{OpenError, Opener, SEGMENT_LEN_DEFAULT};
use holdfast_protocol::get::Mode;
use holdfast_types::{ByteRange, SegmentId};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    Get, Tally,
    places::{Part, Places},
    segment::{self, Fetched},
};
use crate::ClientError;

/// Parts whose segments are remembered, for a frame that does not open: a frame lies in one segment, if
/// a client like this one cut it.
const REMEMBERED: usize = 8;

/// Parts under way, whatever they hold: one being opened, and one on its way; and at most so many.
const PARTS: std::ops::RangeInclusive<usize> = 2..=4;
/// Bytes of parts under way, if there are more than the least: two segments on their way, and one being opened.
const UNDER_WAY_MAX: u64 = 3 * SEGMENT_LEN_DEFAULT;

/// Why a pass ended early. What it wrote until then is right.
pub(super) enum Broken {
    /// A frame did not open, and these segments gave bytes of it that were not verified.
    Suspect { segments: Vec<SegmentId>, error: OpenError },
    /// For another reason.
    Failed(Box<ClientError>),
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        Self::Failed(Box::new(error))
    }
}

pub(super) struct Pass<'a, W> {
    get: &'a Get,
    tally: &'a mut Tally,
    /// Both are away while they work.
    opener: Option<Opener>,
    sink: Option<W>,
    recent: VecDeque<(ByteRange, SegmentId, Mode)>,
}

/// A part being fetched. Nobody waits for one that is dropped: it has nothing more to do.
struct Ahead {
    task: JoinHandle<Result<Fetched, ClientError>>,
    /// Bytes that it will hold.
    len: u64,
}

impl<'a, W: Write + Send + 'static> Pass<'a, W> {
    pub(super) fn new(get: &'a Get, opener: Opener, tally: &'a mut Tally, sink: W) -> Self {
        Self { get, tally, opener: Some(opener), sink: Some(sink), recent: VecDeque::new() }
    }

    /// How it ended, and the sink.
    pub(super) async fn run(mut self) -> (Result<(), Broken>, Result<W, ClientError>) {
        let end = self.parts().await;
        let sink = self.sink.take().ok_or_else(|| ClientError::Bug("the sink was lost in a panic".into()));
        (end, sink)
    }

    async fn parts(&mut self) -> Result<(), Broken> {
        let sealed = match &self.opener {
            Some(opener) => opener.sealed_range().map_err(|error| Broken::from(self.get.open_error(error)))?,
            None => ByteRange::first(0),
        };
        let (client, object) = (&self.get.client, self.get.object.id);
        let mut places = Places::locate(&client.auditor, client.owner.clone(), object, sealed).await?;
        let (mut ahead, mut under_way, mut next) = (VecDeque::new(), 0, places.next().await?);
        loop {
            while let Some(part) = next.take() {
                let len = part.in_segment.len();
                let full = under_way + len > UNDER_WAY_MAX || ahead.len() == *PARTS.end();
                if full && ahead.len() >= *PARTS.start() {
                    next = Some(part);
                    break;
                }
                under_way += len;
                ahead.push_back(self.fetch(part));
                next = places.next().await?;
            }
            let Some(mut first) = ahead.pop_front() else { break };
            let fetched = first.join().await?;
            self.write(fetched).await?;
            under_way -= first.len;
        }
        match self.opener.take().map(Opener::finish) {
            Some(Err(error)) => Err(self.get.open_error(error).into()),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn fetch(&self, part: Part) -> Ahead {
        let suspected = self.get.suspected.contains(&part.place.id);
        let mode = Mode::choose(part.place.geometry, part.in_segment, suspected);
        let len = part.in_segment.len();
        let Get { client, patience, buffers, .. } = self.get;
        let read = segment::read(client.links.clone(), part, mode, patience.clone(), buffers.clone());
        Ahead { task: tokio::spawn(read), len }
    }

    /// Puts a part together, opens it and writes what comes out.
    async fn write(&mut self, fetched: Fetched) -> Result<(), Broken> {
        self.note(&fetched);
        let (Some(mut opener), Some(mut sink)) = (self.opener.take(), self.sink.take()) else {
            return Err(ClientError::Bug("a part came after the end".into()).into());
        };
        let working = spawn_blocking(move || {
            let (mut written, mut broken) = (0, None);
            let assembled = fetched.assemble(|sealed| {
                if broken.is_none() {
                    broken = open(&mut opener, &mut sink, sealed, &mut written).err();
                }
            });
            (opener, sink, written, assembled, broken)
        });
        let (opener, sink, written, assembled, broken) =
            working.await.map_err(|error| ClientError::Bug(error.to_string()))?;
        (self.opener, self.sink) = (Some(opener), Some(sink));
        self.tally.written += written;
        self.get.progress.plain(written);
        self.get.progress.segment();
        assembled?;
        match broken {
            None => Ok(()),
            Some(Stop::Sink(error)) => Err(ClientError::Sink(error).into()),
            Some(Stop::Open(error)) => Err(self.suspect(error)),
        }
    }

    fn note(&mut self, fetched: &Fetched) {
        let tally = &mut *self.tally;
        tally.fetched += fetched.bytes;
        tally.segments += 1;
        tally.reconstructed += u64::from(fetched.is_reconstructed());
        tally.shards += fetched.shards();
        for met in &fetched.met {
            let words = met.what.words();
            tracing::info!(segment = %met.segment, index = %met.index, node = %met.node, what = words, "met while reading");
            self.get.progress.notice(&format!("shard {} on node {} {words}", met.index, met.node.short()));
        }
        tally.met.extend(fetched.met.iter().cloned());
        self.get.progress.moved(fetched.bytes);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((fetched.part.in_stream, fetched.part.place.id, fetched.mode));
    }

    /// Only a frame's authentication can be the fault of unverified bytes.
    fn suspect(&self, error: OpenError) -> Broken {
        let OpenError::Frame { sealed, .. } = &error else { return self.get.open_error(error).into() };
        let unverified = self.recent.iter().filter(|(range, _, mode)| *mode == Mode::Ranges && range.overlaps(*sealed));
        let segments = unverified.map(|(_, segment, _)| *segment).collect();
        Broken::Suspect { segments, error }
    }
}

enum Stop {
    Sink(std::io::Error),
    Open(OpenError),
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

fn open(opener: &mut Opener, sink: &mut impl Write, sealed: &[u8], written: &mut u64) -> Result<(), Stop> {
    opener.push_with(sealed, |plain| {
        sink.write_all(plain).map_err(Stop::Sink)?;
        *written += plain.len() as u64;
        Ok(())
    })
}

impl Ahead {
    async fn join(&mut self) -> Result<Fetched, ClientError> {
        (&mut self.task).await.map_err(|error| ClientError::Bug(error.to_string()))?
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}
