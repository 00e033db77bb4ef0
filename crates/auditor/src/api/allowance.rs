//! What callers may take of the auditor at once, together and each: memory for commits, a core for lists of their own,
//! audits of a node. Whoever comes when it is taken is told when to come back, and costs nothing meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use holdfast_types::{Millis, Mono, NodeId, OwnerId};
use holdfast_wire::{ErrorCode, WireError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that one commit may hold in memory, and all of one owner's together: 1024 objects with the largest records, or
/// 32,768 small ones, with what it takes to keep them.
pub(super) const COMMIT_BYTES_MAX: usize = 144 << 20;
/// Bytes that all commits may hold: two of the largest, so that no owner alone can keep the others out.
const COMMITS_BYTES_MAX: usize = 2 * COMMIT_BYTES_MAX;
/// What a record of any length takes besides its bytes: without it, a hundred million pages of one byte would fit.
pub(super) const RECORD_COST: usize = 64;
/// Commits end soon.
const SOON: Millis = Millis(1000);
/// Clients' lists looked at at once. One, of however many cores: the others are for audits.
const LISTS_AT_ONCE: usize = 1;

/// What is taken at this moment.
#[derive(Debug)]
pub(super) struct Allowance {
    commits: Arc<Mutex<BTreeMap<OwnerId, usize>>>,
    lists: Arc<Semaphore>,
    /// When each node was last audited because a client asked.
    asked: Mutex<BTreeMap<NodeId, Mono>>,
}

/// Nodes that a client asked to have audited.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Asked {
    /// To be audited now.
    pub(super) now: Vec<NodeId>,
    /// Asked for too short a time ago.
    pub(super) too_soon: Vec<NodeId>,
    /// Until the last of these may be asked for again.
    pub(super) wait: Millis,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self { commits: Arc::default(), lists: Arc::new(Semaphore::new(LISTS_AT_ONCE)), asked: Mutex::default() }
    }

    /// Room for one commit, empty at first.
    pub(super) fn commit(&self, owner: OwnerId) -> CommitRoom {
        CommitRoom { taken: Arc::clone(&self.commits), owner, bytes: 0 }
    }

    /// A turn to look at lists, in order of asking.
    pub(super) async fn lists(&self) -> Result<OwnedSemaphorePermit, WireError> {
        let turn = Arc::clone(&self.lists).acquire_owned().await;
        turn.map_err(|error| WireError::new(ErrorCode::Bug, error))
    }

    /// Which of these nodes may be audited again, `every` so often; counts those as audited.
    pub(super) fn audits(&self, nodes: Vec<NodeId>, now: Mono, every: Millis) -> Asked {
        let mut last = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked = Asked::default();
        for node in nodes {
            let left = last.get(&node).map_or(Millis(0), |at| Millis((at.0 + every.0).saturating_sub(now.0)));
            if left == Millis(0) {
                last.insert(node, now);
                asked.now.push(node);
            } else {
                asked.too_soon.push(node);
                asked.wait = asked.wait.max(left);
            }
        }
        asked
    }
}

/// Memory that one commit holds; given back when dropped.
#[derive(Debug)]
pub(super) struct CommitRoom {
    taken: Arc<Mutex<BTreeMap<OwnerId, usize>>>,
    owner: OwnerId,
    bytes: usize,
}

impl CommitRoom {
    /// Takes so many bytes more.
    pub(super) fn grow(&mut self, by: usize) -> Result<(), WireError> {
        if self.bytes.saturating_add(by) > COMMIT_BYTES_MAX {
            let what = format!("expected at most {COMMIT_BYTES_MAX} bytes of records in one commit");
            return Err(WireError::new(ErrorCode::Invalid, format!("{what}; put in several uploads")));
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(self.owner).or_default();
        if *own + by > COMMIT_BYTES_MAX || all + by > COMMITS_BYTES_MAX {
            let whose = if *own + by > COMMIT_BYTES_MAX { "this owner's other commits" } else { "other commits" };
            let what = format!("{whose} take the memory there is for them; commit again in {SOON}");
            return Err(WireError::new(ErrorCode::Retry, what).retry_after(SOON));
        }
        *own += by;
        self.bytes += by;
        Ok(())
    }
}

impl Drop for CommitRoom {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.owner) {
            *own = own.saturating_sub(self.bytes);
        }
        taken.retain(|_, bytes| *bytes > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(number: u8) -> OwnerId {
        OwnerId([number; 32])
    }

    #[test]
    fn commits_share_what_memory_there_is_and_give_it_back() {
        let allowance = Allowance::new();
        let third = COMMIT_BYTES_MAX / 3;
        let mut first = allowance.commit(owner(1));
        first.grow(2 * third).unwrap();
        assert_eq!(first.grow(2 * third).unwrap_err().code, ErrorCode::Invalid, "more than any may have");
        let mut second = allowance.commit(owner(1));
        second.grow(third).unwrap();
        let full = second.grow(third).unwrap_err();
        assert_eq!((full.code, full.retry_after), (ErrorCode::Retry, Some(SOON)), "one owner's together");

        let mut other = allowance.commit(owner(2));
        other.grow(3 * third).unwrap();
        let mut last = allowance.commit(owner(3));
        assert_eq!(last.grow(third).unwrap_err().code, ErrorCode::Retry, "everybody's together");
        drop(second);
        last.grow(third).unwrap();
        drop((first, other, last));
        assert!(allowance.commits.lock().unwrap().is_empty());
    }

    #[test]
    fn a_node_is_audited_for_clients_no_more_often_than_the_profile_has_it() {
        let (allowance, every) = (Allowance::new(), Millis(1000));
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let now = |nodes, at| allowance.audits(nodes, Mono(at), every);
        assert_eq!(now(vec![a], 50).now, [a]);
        let asked = now(vec![a, b], 250);
        assert_eq!(asked, Asked { now: vec![b], too_soon: vec![a], wait: Millis(800) });
        // Whoever was refused did not begin the wait anew.
        assert_eq!(now(vec![a], 1050).now, [a]);
        assert_eq!(now(vec![b], 1249).wait, Millis(1));
    }
}
