//! What a seed does to its cluster: how large it is, what the network is like, what goes wrong when,
//! what clients want. Drawn once, before anything runs, so that a plan can be printed.

use holdfast_protocol::profile::Profile;
use holdfast_types::{Code, Millis};

use crate::{
    chance::Chance,
    liar::{LIES, Lie},
};

/// Faults and wishes happen before this; then everything is left alone to heal.
pub(crate) const QUIET_AT: u64 = 36_000;
/// By then every recoverable segment is whole.
pub(crate) const WHOLE_BY: u64 = QUIET_AT + 240_000;
/// By then the last reads are over.
pub(crate) const READ_BY: u64 = WHOLE_BY + 60_000;

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The power goes, now; back after so many ms.
    Crash { node: usize, down: u64 },
    /// The power goes at the so-manyeth change of the disk from now.
    CrashMidWrite { node: usize, after: u64, down: u64 },
    /// The process is killed, the machine stays.
    Kill { node: usize, down: u64 },
    /// Bits flip on the disk.
    Flip { node: usize, bits: u64 },
    /// Bits flip in the journal: under a process that runs, which is started anew after so many ms, or while it is down.
    RotJournal { node: usize, bits: u64, running: bool, down: u64 },
    /// A sector cannot be read.
    Spoil { node: usize },
    /// The end of a data file is gone.
    Cut { node: usize },
    /// The disk is replaced by an empty one.
    Wipe { node: usize, down: u64 },
    /// No room for so many ms.
    Full { node: usize, span: u64 },
    /// The so-manyeth fsync from now fails; the process is started anew after so many ms.
    FailSync { node: usize, after: u64, down: u64 },
    /// It lies for so many ms.
    Lie { node: usize, lie: Lie, span: u64 },
    /// Nobody reaches it for so many ms.
    Part { node: usize, span: u64 },
    /// The auditor dies, now.
    AuditorCrash { down: u64 },
    /// The auditor dies at the so-manyeth effect from now.
    AuditorCrashMidStep { after: u64, down: u64 },
    /// A wall clock jumps by so many ms; `None` is the auditor's.
    Jump { node: Option<usize>, by: i64 },
    /// The catalog fails so many operations in a thousand, for so many ms.
    StoreFails { per_mille: u64, span: u64 },
    /// The auditor's cache of commitment lists loses one.
    LoseList,
}

/// Something that a client wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// Objects are put; the client dies after so many ms, and comes back to the same upload or not.
    Put {
        dies: Option<u64>,
        returns: bool,
    },
    /// Shards that do not decode, or a secret that is another.
    PutHostile(Hostile),
    Delete,
    Get,
}

/// How a client cheats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hostile {
    /// Parity that is noise, under its own name.
    Undecodable,
    /// The auditor's copy of the placement secret is another.
    WrongSecret,
    /// Two shards that are one.
    EqualShards,
    /// Witnesses that are not those of its shards: the bytes are honest.
    WrongWitness,
}

/// A seed's plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) zones: usize,
    pub(crate) code: Code,
    /// Messages of a thousand that get lost, that come twice, and that dawdle.
    pub(crate) loss: u64,
    pub(crate) copies: u64,
    pub(crate) slow: u64,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) wishes: Vec<(u64, Wish)>,
    /// Wall clocks differ by at most this.
    pub(crate) skew: u64,
    /// The catalog is restored from a backup, and nothing else goes wrong.
    pub(crate) old_copy: bool,
}

impl Plan {
    /// The plan of a run.
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        const CODES: [(u16, u16); 5] = [(2, 2), (3, 2), (4, 2), (4, 3), (3, 3)];
        let (k, m) = *chance.pick(&CODES).unwrap_or(&CODES[0]);
        let code = Code::new(k, m).unwrap_or_else(|_| unreachable!("a code of the table is one"));
        let total = usize::from(code.total());
        let least = 8.max(total + 1);
        let nodes = chance.within(least as u64..13.max(least as u64 + 1)) as usize;
        let calm = chance.per_mille(350);
        let (loss, copies, slow) = match calm {
            true => (0, chance.below(30), 0),
            false => (chance.below(60), chance.below(60), chance.below(40)),
        };
        let count = chance.within(2..12);
        let mut faults: Vec<(u64, Fault)> =
            (0..count).map(|_| (chance.within(3_000..QUIET_AT - 4_000), fault(chance, nodes))).collect();
        faults.sort_by_key(|(at, _)| *at);
        let mut wishes: Vec<(u64, Wish)> =
            vec![(1_000, Wish::Put { dies: None, returns: false }), (2_000, Wish::Put { dies: None, returns: false })];
        wishes.extend((0..chance.within(4..13)).map(|_| (chance.within(1_000..QUIET_AT - 6_000), wish(chance))));
        wishes.sort_by_key(|(at, _)| *at);
        let skew = chance.below(4_000);
        let plan = Self { nodes, zones: 4, code, loss, copies, slow, faults, wishes, skew, old_copy: false };
        if chance.per_mille(60) { plan.with_old_copy() } else { plan }
    }

    /// What a backup does not know is lost, so all is put before it is made. And whoever could contradict it is there to do so:
    /// more is not promised.
    fn with_old_copy(self) -> Self {
        let wishes = vec![(1_000, Wish::Put { dies: None, returns: false })];
        Self { loss: 0, slow: 0, faults: Vec::new(), wishes, old_copy: true, ..self }
    }

    /// No message is lost or late: silence is nobody's excuse.
    pub(crate) fn is_calm(&self) -> bool {
        self.loss == 0 && self.slow == 0
    }
}

fn fault(chance: &mut Chance, nodes: usize) -> Fault {
    let node = chance.below(nodes as u64) as usize;
    let down = chance.within(300..6_000);
    match chance.below(22) {
        0 => Fault::Crash { node, down },
        1 | 2 => Fault::CrashMidWrite { node, after: chance.below(30), down },
        3 => Fault::Kill { node, down },
        4 | 5 => Fault::Flip { node, bits: chance.within(1..24) },
        6 => Fault::Spoil { node },
        7 => Fault::Cut { node },
        8 => Fault::Wipe { node, down },
        9 => Fault::Full { node, span: chance.within(1_000..12_000) },
        10 => Fault::FailSync { node, after: chance.below(12), down },
        11..=14 => {
            let lie = *chance.pick(&LIES).unwrap_or(&Lie::WrongProof);
            Fault::Lie { node, lie, span: chance.within(4_000..20_000) }
        }
        15 => Fault::Part { node, span: chance.within(500..20_000) },
        16 => Fault::AuditorCrash { down },
        17 => Fault::AuditorCrashMidStep { after: chance.below(200), down },
        18 => {
            let who = chance.per_mille(500).then_some(node);
            // Some beyond what grants forgive, and beyond every deadline and expiry there is.
            let far = chance.per_mille(400);
            let size = chance.within(if far { 60_000..7_200_000 } else { 1_500..20_000 }) as i64;
            // What an auditor wrote whose clock was far ahead waits, once the clock is right again, as long as it was
            // ahead: orphans are deleted late by so much. That is safe, and no bound of seconds.
            let ahead = chance.per_mille(500) && !(far && who.is_none());
            Fault::Jump { node: who, by: if ahead { size } else { -size } }
        }
        19 | 20 => {
            let running = chance.per_mille(500);
            Fault::RotJournal { node, bits: chance.within(1..12), running, down }
        }
        _ if chance.per_mille(500) => Fault::LoseList,
        _ => Fault::StoreFails { per_mille: chance.within(20..200), span: chance.within(1_000..6_000) },
    }
}

fn wish(chance: &mut Chance) -> Wish {
    match chance.below(20) {
        0..=7 => Wish::Put { dies: None, returns: false },
        8 | 9 => Wish::Put { dies: Some(chance.within(50..3_000)), returns: chance.per_mille(600) },
        10 => Wish::PutHostile(Hostile::Undecodable),
        11 => Wish::PutHostile(Hostile::WrongSecret),
        12 => Wish::PutHostile(Hostile::EqualShards),
        13 => Wish::PutHostile(Hostile::WrongWitness),
        14 | 15 => Wish::Delete,
        _ => Wish::Get,
    }
}

/// Seconds for hours, so that a short run sees every machine at work.
pub(crate) fn profile() -> Profile {
    Profile {
        name: "sim".into(),
        fold_every: Millis::from_secs(7),
        sample_every: Millis::from_secs(3),
        sample_leaves: 12,
        answer_within: Millis::from_secs(2),
        containment: vec![Millis::from_secs(1), Millis::from_secs(3), Millis::from_secs(6)],
        in_flight: 12,
        repairs: 3,
        lease: Millis::from_secs(8),
        upload_expiry: Millis::from_secs(12),
        orphan_grace: Millis::from_secs(6),
        list_every: Millis::from_secs(5),
        commits: 3,
        commit_deadline: Millis::from_secs(9),
        ..Profile::demo()
    }
}
