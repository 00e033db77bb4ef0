//! Takes away the lists that nobody names any more: of segments that were deleted, aborted or never staged to the end, of
//! claims that came to nothing. Some files a turn, off the threads that serve, at a pace that nobody feels.
//!
//! A list is a file before it is a row, so one without a row may be about to get it. It goes only when the catalog did
//! not name it twice, at least [`GRACE`] apart, and nobody kept it in between: a row follows its file within seconds, and
//! what needs longer keeps the list again before it names it. It also stays an hour longer than any audit that is open
//! now, whose set may be older than a deletion. Attack: a client deletes what a silent node holds, and the node's fold
//! could no more be judged. By the clock that only goes forward: a wall clock that jumps ages no file.

use std::{
    fs::{self, ReadDir},
    io,
    path::{Path, PathBuf},
    sync::PoisonError,
    time::{Duration, Instant},
};

use holdfast_protocol::store::{StoreOp, StoreReply};
use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

use super::ListStore;
use crate::{clock, shared::Shared, store::SqliteStore};

/// Between two looks that find a list nobody's, at least. Far more than a list takes from its file to its row.
pub(crate) const GRACE: Duration = Duration::from_secs(3600);
/// Files looked at in one turn: two looks into an index for each, some 10 ms of one reader of the catalog.
const LOOKED_AT_ONCE: usize = 1024;
/// Between two turns: a million lists in a quarter of an hour.
const TURN: Duration = Duration::from_secs(1);
/// After all lists were looked at.
const REST: Duration = Duration::from_secs(600);
/// Lists that wait for their second look at most, some 40 MB; others begin to wait when there is room again.
const WAITING_MAX: usize = 1 << 19;

/// Removes what nobody names.
pub(crate) struct Sweep {
    store: SqliteStore,
    lists: ListStore,
    grace: Duration,
}

impl Sweep {
    pub(crate) fn new(shared: &Shared, grace: Duration) -> Self {
        Self { store: shared.store.clone(), lists: shared.lists.clone(), grace }
    }

    /// Sweeps until the future is dropped.
    pub(crate) async fn run(self) {
        loop {
            if let Err(error) = self.pass(TURN).await {
                warn!(%error, "commitment lists that nobody names could not be swept; trying again later");
            }
            sleep(REST).await;
        }
    }

    /// Looks at all lists once; how many went.
    pub(crate) async fn pass(&self, pause: Duration) -> io::Result<usize> {
        let lists = self.lists.clone();
        let (mut walk, mut removed) = (blocking(move || Walk::over(&lists.directory)).await?, 0);
        loop {
            sleep(pause).await;
            let grace = self.grace;
            let (next, found) = blocking(move || walk.next(grace).map(|found| (walk, found))).await?;
            let Some(found) = found else { break };
            walk = next;
            removed += self.turn(found).await?;
        }
        if removed > 0 {
            info!(removed, "commitment lists that nobody names any more");
        }
        Ok(removed)
    }

    async fn turn(&self, found: Vec<[u8; 32]>) -> io::Result<usize> {
        let failed = |reply: StoreReply| io::Error::other(format!("the catalog answered {reply:?}"));
        let named = match self.store.apply(StoreOp::NamedLists(found.clone())).await {
            StoreReply::Named(named) => named,
            other => return Err(failed(other)),
        };
        let due = self.lists.wait(found, &named, self.grace);
        if due.is_empty() {
            return Ok(0);
        }
        let opened = match self.store.apply(StoreOp::OpenAudits).await {
            StoreReply::Audits(open) => open.iter().map(|audit| audit.opened).min(),
            other => return Err(failed(other)),
        };
        let open_for = opened.map_or(Duration::ZERO, |at| clock::duration(clock::wall().since(at)));
        let (lists, age) = (self.lists.clone(), self.grace + open_for);
        blocking(move || lists.remove(&due, age)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

impl ListStore {
    /// Notes which of these are nobody's, and gives those that were already, for as long as the grace.
    fn wait(&self, found: Vec<[u8; 32]>, named: &[[u8; 32]], grace: Duration) -> Vec<[u8; 32]> {
        let mut nobodys = self.nobodys.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut due, now) = (Vec::new(), Instant::now());
        // `named` is in the order of `found`.
        let mut named = named.iter().peekable();
        for digest in found {
            if named.next_if_eq(&&digest).is_some() {
                nobodys.remove(&digest);
            } else if let Some(since) = nobodys.get(&digest) {
                due.extend((now - *since >= grace).then_some(digest));
            } else if nobodys.len() < WAITING_MAX {
                nobodys.insert(digest, now);
            }
        }
        due
    }

    /// Removes those that still wait, for at least this long. Whoever keeps one meanwhile has taken it out.
    fn remove(&self, due: &[[u8; 32]], age: Duration) -> io::Result<usize> {
        let mut removed = 0;
        for digest in due {
            let mut nobodys = self.nobodys.lock().unwrap_or_else(PoisonError::into_inner);
            if nobodys.get(digest).is_some_and(|since| since.elapsed() >= age) {
                remove_file(&self.path(digest))?;
                nobodys.remove(digest);
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where a pass is: directory by directory, some files at a time.
struct Walk {
    left: Vec<PathBuf>,
    now: Option<ReadDir>,
}

impl Walk {
    fn over(directory: &Path) -> io::Result<Self> {
        let left = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        Ok(Self { left, now: None })
    }

    /// The next lists, perhaps none of these files; `None` at the end.
    fn next(&mut self, grace: Duration) -> io::Result<Option<Vec<[u8; 32]>>> {
        let mut found = Vec::new();
        for _ in 0..LOOKED_AT_ONCE {
            let Some(entries) = &mut self.now else {
                let Some(directory) = self.left.pop() else {
                    return Ok((!found.is_empty()).then_some(found));
                };
                self.now = directory.is_dir().then(|| fs::read_dir(&directory)).transpose()?;
                continue;
            };
            match entries.next().transpose()? {
                Some(entry) => found.extend(list(&entry.path(), grace)?),
                None => self.now = None,
            }
        }
        Ok(Some(found))
    }
}

/// The list that is in this file. A draft that a crash left is removed; what else is there is somebody else's.
fn list(path: &Path, grace: Duration) -> io::Result<Option<[u8; 32]>> {
    if path.extension().is_some_and(|extension| extension == "new") {
        // Where the clock jumped, somebody's write fails and is tried again.
        let written = fs::metadata(path).and_then(|file| file.modified());
        if written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= grace)) {
            remove_file(path)?;
        }
        return Ok(None);
    }
    let name = path.file_name().and_then(|name| name.to_str());
    Ok(name.and_then(|name| name.parse::<merkle_cid::Root>().ok()).map(|root| root.0))
}

#[cfg(test)]
mod tests {
    use holdfast_kzg::{CommitmentList, Setup};

    use super::*;

    fn list_of(blob: &[u8]) -> CommitmentList {
        CommitmentList::new(vec![Setup::ethereum().commit(blob).unwrap()]).unwrap()
    }

    /// Fault: a list is kept again, and its row written, just while the sweep is about to take its file.
    #[test]
    fn a_list_that_is_kept_again_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        let store = ListStore::open(home.path().into()).unwrap();
        let digest = store.keep(list_of(b"some blob")).unwrap();
        let none: [[u8; 32]; 0] = [];
        assert_eq!(store.wait(vec![digest], &[], Duration::ZERO), none, "the first look");
        let due = store.wait(vec![digest], &[], Duration::ZERO);
        assert_eq!(due, [digest]);
        store.keep(list_of(b"some blob")).unwrap();
        assert_eq!(store.remove(&due, Duration::ZERO).unwrap(), 0);
        assert!(store.path(&digest).exists());
        // And not before it was looked at twice again.
        assert_eq!(store.wait(vec![digest], &[], Duration::ZERO), none);
        assert_eq!(store.wait(vec![digest], &[digest], Duration::ZERO), none);
        assert_eq!(store.wait(vec![digest], &[], Duration::ZERO), none);
        assert_eq!(store.wait(vec![digest], &[], GRACE), none, "within the grace");
        assert_eq!(store.remove(&[digest], GRACE).unwrap(), 0);
        assert_eq!(store.remove(&[digest], Duration::ZERO).unwrap(), 1);
        assert!(!store.path(&digest).exists());
        // Taken, it is written when it is kept.
        store.keep(list_of(b"some blob")).unwrap();
        assert!(store.path(&digest).exists());
    }

    #[test]
    fn a_walk_finds_every_list_and_removes_old_drafts_only() {
        let home = tempfile::tempdir().unwrap();
        let store = ListStore::open(home.path().into()).unwrap();
        let kept: std::collections::BTreeSet<_> = (0..20u8).map(|blob| store.keep(list_of(&[blob])).unwrap()).collect();
        let path = store.path(kept.first().unwrap());
        let (draft, other) = (path.with_extension("0.new"), path.with_file_name("notes"));
        fs::write(&draft, b"half").unwrap();
        fs::write(&other, b"a person's").unwrap();
        let walk = |grace: Duration| {
            let (mut walk, mut found) = (Walk::over(&store.directory).unwrap(), Vec::new());
            while let Some(some) = walk.next(grace).unwrap() {
                found.extend(some);
            }
            found.into_iter().collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(walk(GRACE), kept);
        assert!(draft.exists());
        assert_eq!(walk(Duration::ZERO), kept);
        assert!(!draft.exists() && other.exists());
    }
}
