//! Commitments computed here, for whoever cannot wait for the nodes: the lists themselves go to the auditor with the
//! segment, in the place of witnesses, and stand on this client's word from the put's end on.
//!
//! It costs a hundred times what everything else of a put does, 4 to 35 ms of a core for 124 KiB of a shard, so all
//! cores share it, blob by blob. Beside the segment that is in memory anyway it takes 48 bytes a blob, and once the setup's table
//! of multiples, about 10 MiB.

use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use bytes::Bytes;
use holdfast_kzg::{BLOB_LEN, Commitment, CommitmentList, PackError, Setup, blobs_of};
use holdfast_types::ShardIndex;
use holdfast_wire::convert::ShardCommitments;

use crate::{ClientError, Progress};

/// Bytes of a segment's lists that one message takes beside the rest of the segment. Reached by policies with many
/// times more parity than data only.
const LISTS_LEN_MAX: usize = 3 << 20;

/// One list a shard, in order; `None` when `goes_on` said no before the end. Blocks, on as many threads as there are
/// processors.
pub(super) fn lists(
    shards: &[Bytes],
    goes_on: &(dyn Fn() -> bool + Sync),
    progress: &dyn Progress,
) -> Result<Option<Vec<ShardCommitments>>, ClientError> {
    let blobs: Vec<&[u8]> = shards.iter().flat_map(|shard| shard.chunks(BLOB_LEN)).collect();
    let len = blobs.len() * size_of::<Commitment>();
    if len > LISTS_LEN_MAX {
        let why = format!(
            "expected commitments of a segment within {LISTS_LEN_MAX} bytes, got {len}: leave them to the nodes \
             (commit later), or take a policy with fewer shards"
        );
        return Err(ClientError::Invalid(why));
    }
    Setup::ethereum().prepare();
    let Some(commitments) = all(&blobs, goes_on, progress).map_err(|error| ClientError::Bug(error.to_string()))? else {
        return Ok(None);
    };
    let mut rest = commitments.into_iter();
    let list = |(index, shard): (u16, &Bytes)| {
        let own = rest.by_ref().take(blobs_of(shard.len() as u64) as usize).collect();
        let list = CommitmentList::new(own).map_err(|error| ClientError::Bug(error.to_string()))?;
        Ok(ShardCommitments { index: ShardIndex(index), list: list.encode() })
    };
    (0..).zip(shards).map(list).collect::<Result<_, _>>().map(Some)
}

/// The commitments of all blobs, in order.
fn all(
    blobs: &[&[u8]],
    goes_on: &(dyn Fn() -> bool + Sync),
    progress: &dyn Progress,
) -> Result<Option<Vec<Commitment>>, PackError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut own = Vec::new();
        while goes_on() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(blob) = blobs.get(at) else { break };
            own.push((at, Setup::ethereum().commit(blob)?));
            progress.committed(blob.len() as u64);
        }
        Ok(own)
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(blobs.len());
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work()?;
        for other in others {
            // A panic there is one here.
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, PackError>(done)
    })?;
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok((done.len() == blobs.len()).then(|| done.into_iter().map(|(_, commitment)| commitment).collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[derive(Default)]
    struct Seen(AtomicU64);

    impl Progress for Seen {
        fn committed(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn shards() -> Vec<Bytes> {
        let lens = [2 * BLOB_LEN + 9, 2 * BLOB_LEN + 9, 2 * BLOB_LEN + 9];
        (1..).zip(lens).map(|(salt, len)| (0..len).map(|at| (at as u8).wrapping_mul(salt)).collect()).collect()
    }

    #[test]
    fn each_shard_has_the_list_of_its_own_blobs_in_order_whoever_computed_them() {
        let (shards, seen) = (shards(), Seen::default());
        let lists = lists(&shards, &|| true, &seen).unwrap().unwrap();
        for (place, (of, shard)) in lists.iter().zip(&shards).enumerate() {
            assert_eq!(usize::from(of.index.0), place);
            let alone = shard.chunks(BLOB_LEN).map(|blob| Setup::ethereum().commit(blob).unwrap()).collect();
            assert_eq!(of.list, CommitmentList::new(alone).unwrap().encode());
        }
        assert_eq!(seen.0.into_inner(), shards.iter().map(|shard| shard.len() as u64).sum::<u64>());
    }

    #[test]
    fn a_put_that_is_given_up_commits_to_no_further_blob() {
        let (left, seen) = (AtomicUsize::new(2), Seen::default());
        let goes_on = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        assert!(lists(&shards(), &goes_on, &seen).unwrap().is_none());
        assert_eq!(seen.0.into_inner(), 2 * BLOB_LEN as u64);
    }

    #[test]
    fn lists_that_no_message_takes_are_refused_before_they_are_computed() {
        // The same bytes many times over: they need not be there.
        let shards = vec![Bytes::from(vec![0; 529 * BLOB_LEN]); 256];
        let refused = lists(&shards, &|| panic!("computed"), &Seen::default()).unwrap_err().to_string();
        assert!(refused.contains("commit later"), "{refused}");
    }
}
