//! Numbers that cost a walk over the catalog's largest tables: one walk at a time, whoever asks.
//!
//! Attack: a hundred calls of `GetStatus` at once, each with walks of its own, on the two connections that the core reads
//! with, too. So whoever comes while one walks waits for the next walk, together with all others that came by then. It
//! begins after they asked: nobody is told what was true before the last thing that they did.

use std::time::Instant;

use holdfast_protocol::{
    model::CommitmentCounts,
    store::{StoreOp, StoreReply, Summary},
};
use tokio::sync::Mutex;

use crate::store::SqliteStore;

/// What a walk found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// When it began.
    pub(crate) began: Instant,
    pub(crate) summary: Summary,
    pub(crate) commitments: CommitmentCounts,
}

/// The last walk, and the turn for the next one.
#[derive(Debug, Default)]
pub(crate) struct Walks(Mutex<Option<Counted>>);

impl Walks {
    /// What a walk finds that begins from now on; or what the catalog answered instead.
    pub(crate) async fn count(&self, store: &SqliteStore) -> Result<Counted, StoreReply> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some(counted) = last.filter(|counted| counted.began >= asked) {
            return Ok(counted);
        }
        let began = Instant::now();
        let summary = match store.apply(StoreOp::Summary).await {
            StoreReply::Summary(summary) => summary,
            other => return Err(other),
        };
        let commitments = match store.apply(StoreOp::CommitmentCounts).await {
            StoreReply::Counts(commitments) => commitments,
            other => return Err(other),
        };
        let counted = Counted { began, summary, commitments };
        *last = Some(counted);
        Ok(counted)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::future::join_all;
    use holdfast_protocol::model::UploadRow;
    use holdfast_types::{Code, OwnerId, UploadId, Wall};
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn callers_at_once_share_a_walk_and_none_is_told_of_the_past() {
        let home = TempDir::new().unwrap();
        let store = SqliteStore::open(&home.path().join("catalog.sqlite")).await.unwrap();
        let walks = Walks::default();
        let all = join_all((0..128).map(|_| walks.count(&store))).await;
        let walked: BTreeSet<Instant> = all.into_iter().map(|counted| counted.unwrap().began).collect();
        assert!(walked.len() <= 2, "{} walks", walked.len());
        let row = UploadRow {
            id: UploadId([1; 16]),
            owner: OwnerId([2; 32]),
            policy: "p".into(),
            code: Code::new(2, 2).unwrap(),
            write_threshold: 3,
            repair_threshold: 3,
            expires: Wall(9),
            committed: false,
        };
        store.apply(StoreOp::BeginUpload(row)).await;
        assert_eq!(walks.count(&store).await.unwrap().summary.uploads, 1);
    }
}
