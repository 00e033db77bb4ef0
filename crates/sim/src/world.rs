//! The clock, the queue, the processes. Events happen one after the other, by time and then by
//! number; after each, what was promised is looked at.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_kzg::Setup;
use holdfast_protocol::{effect::Event as CoreEvent, message::Answer, verify::CheckedList};
use holdfast_types::{Mono, NodeId, Now, Wall, ZoneName};
use holdfast_volume::Identity;

use crate::{
    Failure, Options, Report,
    auditor::Auditor,
    catalog::{Breach, Catalog},
    chance::Chance,
    client::Session,
    mark::Mark,
    message::{Api, Peer, Purpose, Reply, Request},
    network::{Call, reply_word, word},
    node::Node,
    old_copy::OldCopy,
    plan::{Fault, Plan, QUIET_AT, READ_BY, WHOLE_BY, Wish},
    promises::Ledger,
    trace::Trace,
};

/// The auditor's driver ticks this often.
const TICK: u64 = 200;
/// Nodes tidy up, and everything that is stored is read and hashed, this often.
const IDLE: u64 = 2_500;
/// Where wall clocks begin: some day in 2026, so that a jump back is not before the epoch.
const WALL: u64 = 1_780_000_000_000;

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Tick {
        life: u64,
    },
    /// Something of the auditor's own: its store, its pool.
    Local {
        life: u64,
        event: Box<CoreEvent>,
    },
    Arrive {
        call: u64,
        from: Peer,
        to: Peer,
        request: Request,
    },
    Return {
        call: u64,
        reply: Reply,
    },
    CallOver {
        call: u64,
    },
    /// A client looks at the clock.
    Wake {
        session: usize,
        life: u64,
    },
    Fault(Fault),
    Wish(Wish),
    /// A client process dies, and may come back.
    ClientDies {
        session: usize,
        returns: bool,
    },
    ClientReturns {
        session: usize,
    },
    StartNode {
        node: usize,
    },
    StartAuditor,
    /// A node tells the auditor that it is there.
    Announce {
        node: usize,
    },
    Repent {
        node: usize,
    },
    RoomAgain {
        node: usize,
    },
    Idle,
    /// The catalog burns, for a moment.
    Burn,
    /// Is it time to put a backup in the catalog's place?
    OldCopy,
    Quiet,
}

/// Everything.
pub(crate) struct World {
    seed: u64,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(crate) numbers: u64,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) plan: Plan,
    pub(crate) setup: &'static Setup,
    pub(crate) nodes: Vec<Node>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) names: BTreeMap<NodeId, usize>,
    pub(crate) catalog: Catalog,
    pub(crate) auditor: Auditor,
    pub(crate) sessions: Vec<Session>,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) heard: Vec<Answer>,
    /// The auditor's durable commitment lists.
    pub(crate) lists: BTreeMap<[u8; 32], Arc<CheckedList>>,
    pub(crate) ledger: Ledger,
    pub(crate) old_copy: Option<OldCopy>,
    pub(crate) report: Report,
    pub(crate) breach: Option<Breach>,
    /// Faults are over.
    pub(crate) quiet: bool,
    /// When everything was whole.
    pub(crate) whole_at: Option<u64>,
    pub(crate) done: bool,
    pub(crate) store_fails: (u64, u64),
}

impl World {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        let auditor = Auditor::new(&mut chance);
        let nodes: Vec<Node> = (0..plan.nodes)
            .map(|at| {
                let zone = ZoneName(format!("zone-{}", at % plan.zones));
                let fresh = Identity { volume: chance.bytes(), incarnation: chance.bytes() };
                Node::new(chance.bytes(), zone, 24 << 20, auditor.key.public(), fresh)
            })
            .collect();
        let skews = 2 * plan.skew + 1;
        let marks = (0..plan.nodes)
            .map(|_| Mark { skew: chance.below(skews) as i64 - plan.skew as i64, down: true, ..Mark::default() })
            .collect();
        let names = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        let mut world = Self {
            seed,
            now: 0,
            queue: BTreeMap::new(),
            numbers: 0,
            chance,
            trace: Trace::new(options.loud),
            plan,
            setup: crate::setup(options),
            nodes,
            marks,
            names,
            catalog: Catalog::new(),
            auditor,
            sessions: Vec::new(),
            calls: BTreeMap::new(),
            heard: Vec::new(),
            lists: BTreeMap::new(),
            ledger: Ledger::default(),
            old_copy: None,
            report: Report { seed, ..Report::default() },
            breach: None,
            quiet: false,
            whole_at: None,
            done: false,
            store_fails: (0, 0),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let plan = format!("{:?}", self.plan);
        self.trace.note(0, &plan);
        self.queue_in(0, Event::StartAuditor);
        for node in 0..self.nodes.len() {
            let at = self.chance.below(300);
            self.queue_in(at, Event::StartNode { node });
        }
        for (at, fault) in self.plan.faults.clone() {
            self.queue_in(at, Event::Fault(fault));
        }
        for (at, wish) in self.plan.wishes.clone() {
            self.queue_in(at, Event::Wish(wish));
        }
        self.queue_in(QUIET_AT, Event::Quiet);
        self.queue_in(IDLE, Event::Idle);
    }

    /// Runs until the last read is over.
    pub(crate) fn run(mut self) -> Result<Report, Box<Failure>> {
        while !self.done {
            let Some(((at, _), event)) = self.queue.pop_first() else { break };
            self.now = at;
            self.tell(&event);
            self.happen(event);
            self.look();
            if let Some(breach) = self.breach.take() {
                return Err(Box::new(Failure {
                    seed: self.seed,
                    promise: breach.promise,
                    what: breach.what,
                    last: self.trace.last(),
                    digest: self.trace.digest(),
                }));
            }
        }
        self.report.digest = self.trace.digest();
        self.report.events = self.trace.lines();
        self.report.virtual_ms = self.now;
        self.report.verdicts = self.catalog.verdicts().len() as u64;
        self.report.repairs = self.catalog.repairs;
        self.report.harmed = self.ledger.harms.len() as u64;
        Ok(self.report)
    }

    pub(crate) fn queue_in(&mut self, delay: u64, event: Event) {
        self.numbers += 1;
        self.queue.insert((self.now + delay, self.numbers), event);
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.trace.note(self.now, what);
    }

    pub(crate) fn break_promise(&mut self, promise: &'static str, what: String) {
        self.breach.get_or_insert(Breach { promise, what });
    }

    fn tell(&mut self, event: &Event) {
        let line = match event {
            Event::Tick { .. } | Event::CallOver { .. } | Event::Wake { .. } | Event::Idle => return,
            Event::Local { event, .. } => match &**event {
                CoreEvent::Stored(token, reply) => {
                    let said = format!("{reply:?}");
                    let word: String = said.chars().take(70).collect();
                    format!("stored {} {word}", token.0)
                }
                CoreEvent::Verified(token, found) => format!("verified {} {found:?}", token.0),
                CoreEvent::Recovered(token, outcome) => format!("recovered {} {outcome:?}", token.0),
                other => format!("{other:?}"),
            },
            Event::Arrive { call, from, to, request } => format!("{from:?} → {to:?} {call}: {}", word(request)),
            Event::Return { call, reply } => format!("answer {call}: {}", reply_word(reply)),
            other => format!("{other:?}"),
        };
        self.note(&line);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { life } if life == self.auditor.life => {
                self.queue_in(TICK, Event::Tick { life });
                let entropy = holdfast_types::Seed(self.chance.bytes());
                self.auditor_step(CoreEvent::Tick { entropy });
            }
            Event::Local { life, event } if life == self.auditor.life => self.auditor_step(*event),
            Event::Tick { .. } | Event::Local { .. } => {}
            Event::Arrive { call, from, to, request } => self.arrive(call, from, to, &request),
            Event::Return { call, reply } => self.over(call, Some(reply)),
            Event::CallOver { call } => self.over(call, None),
            Event::Wake { session, life } => self.wake(session, life),
            Event::Fault(fault) => self.fault(fault),
            Event::Wish(wish) => self.wish(wish),
            Event::ClientDies { session, returns } => self.client_dies(session, returns),
            Event::ClientReturns { session } => self.client_returns(session),
            Event::StartNode { node } => self.start_node(node),
            Event::StartAuditor => {
                self.auditor.start(Mono(self.now));
                self.queue_in(0, Event::Tick { life: self.auditor.life });
            }
            Event::Announce { node } => self.announce(node),
            Event::Repent { node } => {
                self.look_at_denial(node);
                self.repent(node);
            }
            Event::RoomAgain { node } => self.nodes[node].disk.full_from(None),
            Event::Idle => self.idle(),
            Event::Burn => self.look_at_records(false),
            Event::OldCopy => self.age_the_copy(),
            Event::Quiet => self.fall_quiet(),
        }
    }

    fn idle(&mut self) {
        self.queue_in(IDLE, Event::Idle);
        for at in 0..self.nodes.len() {
            self.nodes[at].idle();
            self.marks[at].changed = true;
            if self.nodes[at].lost_power() {
                self.power_went(at);
            }
        }
        self.look_deep();
        if self.quiet && self.whole_at.is_none() {
            match self.unhealed() {
                None => {
                    self.whole_at = Some(self.now);
                    self.report.healed_ms = self.now - QUIET_AT;
                    self.note("whole");
                    self.look_back();
                    self.read_everything();
                }
                Some(why) if self.now > WHOLE_BY => self.break_promise("whole within a bound once faults stop", why),
                Some(_) => {}
            }
        }
        if self.whole_at.is_some() && !self.done {
            match self.unread() {
                None => self.done = true,
                Some(why) if self.now > READ_BY => self.break_promise("what was acknowledged is read back", why),
                Some(_) => {}
            }
        }
    }

    pub(crate) fn life_of(&self, peer: Peer) -> u64 {
        match peer {
            Peer::Auditor => self.auditor.life,
            Peer::Node(_) => 0,
            Peer::Client(session) => self.sessions[session].life,
        }
    }

    pub(crate) fn wall_of(&self, peer: Peer) -> Wall {
        let skew = match peer {
            Peer::Auditor => self.auditor.skew,
            Peer::Node(node) => self.marks[node].skew,
            Peer::Client(_) => 0,
        };
        Wall((WALL + self.now).saturating_add_signed(skew))
    }

    pub(crate) fn mono(&self) -> Mono {
        Mono(self.now)
    }

    pub(crate) fn auditor_now(&self) -> Now {
        // A process's own clock begins somewhere of its own.
        Now { mono: Mono(self.now + 1_000_000), wall: self.wall_of(Peer::Auditor) }
    }

    fn start_node(&mut self, at: usize) {
        if self.nodes[at].is_up() {
            return;
        }
        self.marks[at].down = false;
        self.marks[at].changed = true;
        match self.nodes[at].start() {
            Ok(report) => {
                let word = format!("node {at} starts: {report}");
                self.note(&word);
                self.started(at);
                if self.marks[at].rotten {
                    self.started_on_rot(at);
                }
                self.queue_in(1, Event::Announce { node: at });
            }
            // Opening may have to write a little: on a full disk the node waits for room, and nothing is lost.
            Err(holdfast_volume::VolumeError::Full { .. }) => {
                self.marks[at].down = true;
                self.queue_in(1_000, Event::StartNode { node: at });
            }
            // The power may go while it opens, too.
            Err(_) if self.nodes[at].lost_power() => self.power_went(at),
            // Nor on a disk that fails just then, once: whoever looks after the node starts it again.
            Err(holdfast_volume::VolumeError::Io { .. }) if std::mem::take(&mut self.marks[at].fails_sync) => {
                self.marks[at].down = true;
                self.queue_in(1_000, Event::StartNode { node: at });
            }
            Err(error) => {
                let word = format!("node {at} does not start: {error}");
                self.note(&word);
                self.cannot_start(at, &error.to_string());
            }
        }
    }

    /// Registers until the auditor has answered.
    fn announce(&mut self, node: usize) {
        if self.nodes[node].is_up() && !self.marks[node].registered {
            let request = Request::Api(Box::new(Api::Register(node)));
            self.call(Peer::Node(node), Peer::Auditor, request, holdfast_types::Millis(1_500), Purpose::Register);
        }
    }

    pub(crate) fn registered(&mut self, node: usize, reply: &Reply) {
        match reply {
            Reply::Api(crate::message::ApiReply::Done) => self.marks[node].registered = true,
            _ => self.queue_in(700, Event::Announce { node }),
        }
    }

    /// A request reached a node: what it holds may be other than before.
    pub(crate) fn touched(&mut self, node: usize, request: &Request) {
        let reads = matches!(request, Request::Get { .. } | Request::Lists(_));
        self.marks[node].changed |= !reads;
    }
}
