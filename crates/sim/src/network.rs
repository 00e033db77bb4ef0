//! Calls between processes, and what a network does to them. A call ends once: with the answer, with
//! the word that nobody is there, or when its caller has waited long enough.

use holdfast_protocol::message::{AnswerBody, NodeReply, NodeRequest, SendFailure};
use holdfast_types::{Millis, ShardId};

use crate::{
    message::{Api, ApiReply, Got, ListCall, ListReply, Peer, Purpose, Reply, Request},
    world::{Event, World},
};

/// A call under way.
pub(crate) struct Call {
    pub(crate) from: Peer,
    /// The life of the caller that waits; a later one does not.
    life: u64,
    pub(crate) purpose: Purpose,
    request: Request,
}

/// Answers of nodes kept for those who would pass them off as theirs.
const HEARD_MAX: usize = 16;

impl World {
    /// Calls `to`; the answer comes to `from` under `purpose`.
    pub(crate) fn call(&mut self, from: Peer, to: Peer, request: Request, timeout: Millis, purpose: Purpose) {
        self.numbers += 1;
        let (number, life) = (self.numbers, self.life_of(from));
        self.calls.insert(number, Call { from, life, purpose, request: request.clone() });
        self.queue_in(timeout.0, Event::CallOver { call: number });
        self.travel(from, to, Event::Arrive { call: number, from, to, request });
    }

    /// Forgets calls; their answers find nobody.
    pub(crate) fn drop_calls(&mut self, whose: impl Fn(&Call) -> bool) {
        self.calls.retain(|_, call| !whose(call));
    }

    /// One message on its way: perhaps lost, late, or twice.
    fn travel(&mut self, from: Peer, to: Peer, message: Event) {
        let rough = !self.quiet;
        if self.is_cut(from) || self.is_cut(to) || (rough && self.chance.per_mille(self.plan.loss)) {
            return;
        }
        let copies = if rough && self.chance.per_mille(self.plan.copies) { 2 } else { 1 };
        for _ in 0..copies {
            let slow = rough && self.chance.per_mille(self.plan.slow);
            let delay = if slow { self.chance.within(300..4_000) } else { self.chance.within(1..60) };
            self.queue_in(delay, message.clone());
        }
    }

    fn is_cut(&self, peer: Peer) -> bool {
        matches!(peer, Peer::Node(node) if self.marks[node].cut_until > self.now)
    }

    pub(crate) fn arrive(&mut self, call: u64, from: Peer, to: Peer, request: &Request) {
        let wall = self.wall_of(to);
        let reply = match to {
            Peer::Auditor => match (&request, self.auditor.core.is_some()) {
                (Request::Api(api), true) => Some(Reply::Api(self.api(api))),
                _ => None,
            },
            Peer::Node(at) => {
                let before = self.nodes[at].is_up();
                let reply = self.nodes[at].serve(request, wall, self.setup, &self.heard);
                self.touched(at, request);
                if let (Request::Put { grant, .. }, Some(Reply::Put(Ok(_)))) = (request, &reply) {
                    self.marks[at].took.insert(ShardId::from_bytes(grant.grant.content));
                }
                if before && self.nodes[at].lost_power() {
                    self.power_went(at);
                    // The machine is gone in the middle of it: nobody says anything.
                    return;
                }
                reply
            }
            Peer::Client(_) => None,
        };
        let reply = reply.unwrap_or_else(|| Reply::failed(request, SendFailure::Unreachable));
        if let Reply::Node(Ok(NodeReply::Answer(answer))) = &reply {
            if self.heard.len() == HEARD_MAX {
                self.heard.remove(0);
            }
            self.heard.push((**answer).clone());
        }
        self.travel(to, from, Event::Return { call, reply });
    }

    pub(crate) fn over(&mut self, call: u64, reply: Option<Reply>) {
        let Some(ended) = self.calls.remove(&call) else { return };
        if ended.life != self.life_of(ended.from) {
            return;
        }
        let reply = reply.unwrap_or_else(|| Reply::failed(&ended.request, SendFailure::Timeout));
        match (ended.from, ended.purpose) {
            (Peer::Auditor, purpose) => self.auditor_heard(purpose, reply),
            (Peer::Client(session), purpose) => self.client_heard(session, purpose, reply),
            (Peer::Node(node), _) => self.registered(node, &reply),
        }
    }
}

/// A request in a word or two, for the trace.
pub(crate) fn word(request: &Request) -> String {
    match request {
        Request::Node(NodeRequest::Challenge(challenge)) => format!("challenge {:?}", challenge.ask),
        Request::Node(NodeRequest::List { from, .. }) => format!("list from {from}"),
        Request::Node(NodeRequest::Delete(grant)) => format!("delete {}", short(&grant.grant.content)),
        Request::Node(NodeRequest::PutRecord { kind, key, .. }) => format!("keep {kind:?} {}", short(key)),
        Request::Node(NodeRequest::ListRecords { kind, .. }) => format!("records {kind:?}"),
        Request::Node(NodeRequest::Stat) => "stat".into(),
        Request::Put { grant, replace, .. } => {
            let how = if *replace { "replace" } else { "put" };
            format!("{how} {} under {}", short(&grant.grant.content), grant.grant.fence)
        }
        Request::Get { shard, range } => format!("get {} {range}", short(shard.as_bytes())),
        Request::Lists(ListCall::Commitments { shard, .. }) => format!("list of {}", short(shard.as_bytes())),
        Request::Lists(ListCall::Open { shard, .. }) => format!("reveal of {}", short(shard.as_bytes())),
        Request::Lists(ListCall::Put { shard, .. }) => format!("list for {}", short(shard.as_bytes())),
        Request::Api(api) => match &**api {
            Api::Register(_) => "register".into(),
            Api::Begin { id, .. } => format!("begin {}", short(&id.0)),
            Api::Stage { spec, avoid, .. } => format!("stage {} avoiding {}", short(&spec.id.0), avoid.len()),
            Api::Note { segment, receipts, .. } => format!("note {} of {}", receipts.len(), short(&segment.0)),
            Api::Commit { upload, .. } => format!("commit {}", short(&upload.0)),
            Api::Abort { upload, .. } => format!("abort {}", short(&upload.0)),
            Api::Locate { object, .. } => format!("locate {}", short(object.as_bytes())),
            Api::Delete { object, .. } => format!("delete object {}", short(object.as_bytes())),
        },
    }
}

/// An answer in a word or two, for the trace.
pub(crate) fn reply_word(reply: &Reply) -> String {
    match reply {
        Reply::Node(Ok(NodeReply::Answer(answer))) => match &answer.body {
            AnswerBody::Fold { y, damaged, missing, .. } => {
                format!("fold {} damaged {} missing {}", short(y), damaged.len(), missing.len())
            }
            AnswerBody::Leaves { shards, damaged, missing } => {
                format!("leaves of {} damaged {} missing {}", shards.len(), damaged.len(), missing.len())
            }
            AnswerBody::SetMismatch { count, .. } => format!("another set, of {count}"),
            AnswerBody::Refused { retry_after } => format!("refused for {retry_after}"),
        },
        Reply::Node(Ok(NodeReply::Entries { entries, next })) => format!("{} entries, next {next:?}", entries.len()),
        Reply::Node(Ok(other)) => word_of(&format!("{other:?}")),
        Reply::Node(Err(failure)) | Reply::Put(Err(failure)) | Reply::Got(Got::Failed(failure)) => {
            format!("{failure:?}")
        }
        Reply::Put(Ok(receipt)) => format!("receipt {} as {}", short(receipt.shard.as_bytes()), receipt.sequence),
        Reply::Got(Got::Bytes { bytes, damaged }) => format!("{} bytes, {} gaps", bytes.len(), damaged.len()),
        Reply::Got(Got::NotFound) => "not found".into(),
        Reply::Got(Got::Busy(after)) => format!("busy for {after}"),
        Reply::Lists(Ok(ListReply::Commitments(said))) => word_of(&format!("{said:?}")),
        Reply::Lists(Ok(ListReply::Opened(said))) => word_of(&format!("{:?}", said.body)),
        Reply::Lists(Ok(ListReply::Adopted(said))) => word_of(&format!("{:?}", said.adoption)),
        Reply::Lists(Err(failure)) => format!("{failure:?}"),
        Reply::Api(ApiReply::Failed(failure)) => format!("{failure:?}"),
        Reply::Api(ApiReply::Staged(slots)) => format!("staged {}", slots.len()),
        Reply::Api(ApiReply::Noted(count)) => format!("noted {count}"),
        Reply::Api(ApiReply::Done) => "done".into(),
        Reply::Api(ApiReply::NotFound) => "no such object".into(),
        Reply::Api(ApiReply::Located(_)) => "located".into(),
    }
}

fn word_of(said: &str) -> String {
    said.chars().take_while(|c| c.is_alphanumeric()).collect()
}

pub(crate) fn short(bytes: &[u8]) -> String {
    bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
