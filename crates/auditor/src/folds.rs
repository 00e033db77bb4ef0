//! Folds that wait for a processor are verified together: whoever gets one takes all that have come,
//! as one random combination. A lone fold waits for nobody, and a round of many costs two pairings
//! and one sum instead of two pairings each.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_kzg::Setup;
use holdfast_protocol::{
    effect::{FoldJob, Verification},
    verify::{Lists, verify_folds},
};
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
};
use tracing::{debug, error};

use crate::clock;

/// Folds in one combination at most: beyond it the pairings are lost in the sums, and one lie among them costs a longer
/// search.
const TOGETHER_MAX: usize = 256;
/// And blobs, unless one fold alone has more: their terms are in memory at once, and long sums are shared between processors.
const BLOBS_MAX: u64 = 1 << 18;

struct Waiting {
    job: FoldJob,
    tell: oneshot::Sender<Verification>,
}

/// Folds that came and were not taken yet, in their order.
#[derive(Clone, Default)]
pub(crate) struct Folds(Arc<Mutex<Vec<Waiting>>>);

impl Folds {
    /// Verifies a fold, with others or alone. `None`: a verification ended without a result; it is to be wished again.
    pub(crate) async fn verify(
        &self,
        job: FoldJob,
        cpus: Arc<Semaphore>,
        lists: impl Lists + Clone + Send + 'static,
    ) -> Option<Verification> {
        let (tell, mut told) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { job, tell });
        loop {
            // Somebody else may have taken it along.
            tokio::select! {
                biased;
                found = &mut told => return found.ok(),
                turn = Arc::clone(&cpus).acquire_owned() => {
                    let turn = turn.ok()?;
                    let (taken, lists) = (self.take(), lists.clone());
                    let done = spawn_blocking(move || {
                        let _turn = turn;
                        together(taken, &lists);
                    });
                    if let Err(failure) = done.await {
                        error!(%failure, "a verification of folds ended without a result");
                    }
                }
            }
        }
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits for what was cancelled.
        waiting.retain(|waiting| !waiting.tell.is_closed());
        let mut blobs = 0;
        let fits = |waiting: &&Waiting| {
            blobs += waiting.job.blobs();
            blobs <= BLOBS_MAX
        };
        let count = waiting.iter().take(TOGETHER_MAX).take_while(fits).count().max(1).min(waiting.len());
        waiting.drain(..count).collect()
    }
}

fn together(taken: Vec<Waiting>, lists: &impl Lists) {
    if taken.is_empty() {
        return;
    }
    // Drawn now, when every answer is in: a node that knew the coefficients could make two lies cancel.
    let entropy = match clock::chance() {
        Ok(entropy) => entropy,
        Err(failure) => return error!(%failure, "no random bytes from the operating system; folds wait"),
    };
    let (jobs, tells): (Vec<FoldJob>, Vec<_>) = taken.into_iter().map(|waiting| (waiting.job, waiting.tell)).unzip();
    debug!(folds = jobs.len(), "verified together");
    let found = verify_folds(&jobs, lists, Setup::ethereum(), entropy);
    for (tell, found) in tells.into_iter().zip(found) {
        // Gone when its audit was cancelled meanwhile.
        let _ = tell.send(found);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use holdfast_kzg::CommitmentList;
    use holdfast_protocol::{
        effect::FoldTerm,
        message::{AnswerBody, Ask, Challenge, SeqRun, SetEntry, SetRef},
        responder::Responder,
        set,
        verify::CheckedList,
    };
    use holdfast_types::{AuditId, BLOB_LEN, Millis, NodeId, Root, Seed, Sequence, ShardId};

    use super::*;

    /// Answers of as many nodes that all hold one blob, each to a challenge of its own.
    struct Round {
        jobs: Vec<FoldJob>,
        lists: BTreeMap<[u8; 32], Arc<CheckedList>>,
    }

    fn round(count: u8) -> Round {
        let setup = Setup::ethereum();
        let mut blob = vec![0; BLOB_LEN as usize];
        holdfast_types::Transcript::new("holdfast test bytes").absorb("seed", &[1]).stream().fill(&mut blob);
        let shard = ShardId(Root::of(&blob));
        let entry = SetEntry { sequence: Sequence(1), shard, len: BLOB_LEN };
        let list = CommitmentList::new(vec![setup.commit(&blob).unwrap()]).unwrap();
        let digest = list.digest();
        let jobs = (0..count).map(|n| {
            let challenge = Challenge {
                audit: AuditId([n; 32]),
                node: NodeId([n; 32]),
                set: SetRef {
                    runs: vec![SeqRun { from: Sequence(1), to: Sequence(2) }],
                    digest: set::digest(&[entry]),
                    count: 1,
                },
                commitments: digest,
                seed: Seed([n; 32]),
                ask: Ask::Fold { from: 0, to: 1 },
                deadline: Millis(1000),
            };
            let mut responder = Responder::new(&challenge, &[entry]).map_err(|_| ()).unwrap();
            responder.absorb(&shard, 0, &blob, &[]).unwrap();
            let AnswerBody::Fold { y, proof, .. } = responder.finish(setup) else { panic!("a fold is answered") };
            let terms = vec![FoldTerm { shard, list: digest, base: 0, blobs: vec![(0, 1)] }];
            FoldJob { challenge: Box::new(challenge), terms, y, proof }
        });
        Round { jobs: jobs.collect(), lists: BTreeMap::from([(digest, Arc::new(CheckedList::new(list).unwrap()))]) }
    }

    /// Hands all jobs in while no processor is free, then frees one; answers in order, and how many combinations there
    /// were.
    async fn verified(round: &Round) -> (Vec<Verification>, usize) {
        let (folds, cpus) = (Folds::default(), Arc::new(Semaphore::new(0)));
        let lists = Arc::new(round.lists.clone());
        let combinations: Arc<AtomicUsize> = Arc::default();
        let waiting: Vec<_> = round
            .jobs
            .iter()
            .map(|job| {
                let (folds, cpus, job) = (folds.clone(), Arc::clone(&cpus), job.clone());
                let lists = Counted { lists: Arc::clone(&lists), combinations: Arc::clone(&combinations) };
                tokio::spawn(async move { folds.verify(job, cpus, lists).await })
            })
            .collect();
        while folds.0.lock().unwrap().len() < round.jobs.len() {
            tokio::task::yield_now().await;
        }
        cpus.add_permits(1);
        let mut found = Vec::new();
        for task in waiting {
            found.push(task.await.unwrap().unwrap());
        }
        (found, combinations.load(Ordering::Relaxed))
    }

    /// The lists, and how many combinations were begun: each takes a clone.
    struct Counted {
        lists: Arc<BTreeMap<[u8; 32], Arc<CheckedList>>>,
        combinations: Arc<AtomicUsize>,
    }

    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.combinations.fetch_add(1, Ordering::Relaxed);
            Self { lists: Arc::clone(&self.lists), combinations: Arc::clone(&self.combinations) }
        }
    }

    impl Lists for Counted {
        fn list(&self, digest: &[u8; 32]) -> Option<Arc<CheckedList>> {
            self.lists.list(digest)
        }
    }

    #[tokio::test]
    async fn folds_that_wait_are_verified_together_and_a_lie_among_them_is_named() {
        let mut round = round(24);
        round.jobs[7].y[31] ^= 1;
        round.jobs[19].proof = round.jobs[18].proof;
        let (found, combinations) = verified(&round).await;
        for (n, found) in found.iter().enumerate() {
            let lies = n == 7 || n == 19;
            assert_eq!(*found == Verification::Valid, !lies, "fold {n}: {found:?}");
        }
        assert_eq!(combinations, 1, "one for all of them");
        // A list that is not at hand is our own trouble, and no fault of the others.
        round.jobs[3].terms[0].list = [9; 32];
        let (found, _) = verified(&round).await;
        assert!(matches!(found[3], Verification::NoList { .. }));
        assert_eq!((found[2].clone(), found[4].clone()), (Verification::Valid, Verification::Valid));
    }

    #[tokio::test]
    async fn only_so_many_blobs_are_verified_together() {
        let mut round = round(5);
        let long = |job: &mut FoldJob| job.terms[0].blobs = vec![(0, 100), (100, 3 + BLOBS_MAX as u32 / 2)];
        round.jobs[1..4].iter_mut().for_each(long);
        // Short and long, long, long and short.
        let (found, combinations) = verified(&round).await;
        assert_eq!(combinations, 3);
        let short = [&found[0], &found[4]];
        assert_eq!(short, [&Verification::Valid, &Verification::Valid]);
        assert!(
            found[1..4].iter().all(|found| matches!(found, Verification::NoList { .. })),
            "lists are not that long"
        );
        // What is too long for any combination is verified alone.
        round.jobs[1].terms[0].blobs = vec![(0, 2 * BLOBS_MAX as u32)];
        assert_eq!(verified(&round).await.1, 4);
    }
}
