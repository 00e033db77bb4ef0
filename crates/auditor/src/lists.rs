//! Commitment lists: files named by their digest, and the checked points of those used of late. The
//! catalog keeps only digests (48 bytes a blob would be most of it), so a list that is lost here is
//! computed again from the shard's bytes. What nobody names any more is swept away ([`sweep`]).

pub(crate) mod sweep;

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use holdfast_kzg::{CommitmentList, LIST_LEN_MAX};
use holdfast_protocol::verify::{CheckedList, Lists};
use tracing::warn;

/// Checked points kept in memory: 96 bytes each, so about 50 MB; 500,000 blobs are 63 GB of shards.
const POINTS_MAX: usize = 500_000;

/// Lists on disk and in memory. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ListStore {
    directory: PathBuf,
    cache: Arc<Mutex<Cache>>,
    /// Lists that the catalog did not name when they were looked at, and since when.
    nobodys: Arc<Mutex<HashMap<[u8; 32], Instant>>>,
}

#[derive(Debug, Default)]
struct Cache {
    lists: HashMap<[u8; 32], Arc<CheckedList>>,
    order: VecDeque<[u8; 32]>,
    points: usize,
}

impl ListStore {
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, cache: Arc::default(), nobodys: Arc::default() })
    }

    fn path(&self, digest: &[u8; 32]) -> PathBuf {
        let name = merkle_cid::Root(*digest).to_string();
        // 256 directories, so that none grows to millions of entries.
        self.directory.join(&name[..2]).join(name)
    }

    /// Keeps a list, durably, before anybody is told its digest.
    pub(crate) fn keep(&self, list: CommitmentList) -> io::Result<[u8; 32]> {
        let checked =
            CheckedList::new(list).map_err(|(blob, error)| io::Error::other(format!("blob {blob}: {error}")))?;
        self.keep_checked(checked)
    }

    /// The same for a list whose points were looked at already.
    pub(crate) fn keep_checked(&self, list: impl Into<Arc<CheckedList>>) -> io::Result<[u8; 32]> {
        let list = list.into();
        let digest = list.list().digest();
        let path = self.path(&digest);
        // Before the look at the file: the sweep takes only what it finds here, so from now on it leaves this one for the
        // whole grace, or it has taken it and it is written again.
        self.nobodys.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        if !self.is_intact(&path, &digest) {
            write_durably(&path, &list.list().encode())?;
        }
        self.remember(digest, list);
        Ok(digest)
    }

    fn is_intact(&self, path: &Path, digest: &[u8; 32]) -> bool {
        read_bounded(path)
            .ok()
            .and_then(|bytes| CommitmentList::decode(&bytes).ok())
            .is_some_and(|list| list.digest() == *digest)
    }

    fn remember(&self, digest: [u8; 32], list: Arc<CheckedList>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let points = list.list().commitments().len();
        // The same list again is as large as before: counted twice, it would be forgotten once, and the cache would shrink.
        if cache.lists.insert(digest, list).is_none() {
            cache.points += points;
            cache.order.push_back(digest);
        }
        while cache.points > POINTS_MAX {
            let Some(oldest) = cache.order.pop_front() else { break };
            if let Some(list) = cache.lists.remove(&oldest) {
                cache.points = cache.points.saturating_sub(list.list().commitments().len());
            }
        }
    }
}

impl Lists for ListStore {
    fn list(&self, digest: &[u8; 32]) -> Option<Arc<CheckedList>> {
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).lists.get(digest).cloned();
        if cached.is_some() {
            return cached;
        }
        let path = self.path(digest);
        let bytes = read_bounded(&path)
            .inspect_err(|error| warn!(path = %path.display(), %error, "commitment list cannot be read"))
            .ok()?;
        let list = CheckedList::decode(&bytes)
            .inspect_err(|error| warn!(path = %path.display(), %error, "commitment list is damaged"))
            .ok()?;
        if list.list().digest() != *digest {
            warn!(path = %path.display(), "commitment list has another digest than its name");
            return None;
        }
        let list = Arc::new(list);
        self.remember(*digest, Arc::clone(&list));
        Some(list)
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed shows that it is too long; its decoder says so.
    File::open(path)?.take(LIST_LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("a list has a directory"))?;
    fs::create_dir_all(directory)?;
    // Two that keep the same list at once must not write to one file: the one that renames it would find half of the other's.
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let draft = path.with_extension(format!("{}.new", DRAFTS.fetch_add(1, Ordering::Relaxed)));
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()?;
    match directory.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_kzg::Setup;

    use super::*;

    #[test]
    fn a_list_that_is_kept_again_takes_no_more_of_the_cache() {
        let home = tempfile::tempdir().unwrap();
        let store = ListStore::open(home.path().into()).unwrap();
        let commitment = Setup::ethereum().commit(b"some blob").unwrap();
        for _ in 0..5 {
            store.keep(CommitmentList::new(vec![commitment; 3]).unwrap()).unwrap();
        }
        let cache = store.cache.lock().unwrap();
        assert_eq!((cache.points, cache.lists.len(), cache.order.len()), (3, 1, 1));
    }

    #[test]
    fn one_list_kept_by_many_at_once_is_whole_and_leaves_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let store = ListStore::open(home.path().into()).unwrap();
        let commitment = Setup::ethereum().commit(b"some blob").unwrap();
        let list = || CommitmentList::new(vec![commitment; 200]).unwrap();
        let digest = list().digest();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        write_durably(&store.path(&digest), &list().encode()).unwrap();
                    }
                });
            }
        });
        assert!(ListStore::open(home.path().into()).unwrap().list(&digest).is_some());
        let path = store.path(&digest);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_kept_list_is_there_after_a_restart_and_a_rotten_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let store = ListStore::open(home.path().into()).unwrap();
        let commitment = Setup::ethereum().commit(b"some blob").unwrap();
        let digest = store.keep(CommitmentList::new(vec![commitment]).unwrap()).unwrap();
        assert!(ListStore::open(home.path().into()).unwrap().list(&digest).is_some());

        let path = store.path(&digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[30] ^= 1;
        fs::write(&path, bytes).unwrap();
        let restarted = ListStore::open(home.path().into()).unwrap();
        assert!(restarted.list(&digest).is_none());
        // Kept again, it is whole again.
        restarted.keep(CommitmentList::new(vec![commitment]).unwrap()).unwrap();
        assert!(ListStore::open(home.path().into()).unwrap().list(&digest).is_some());
    }
}
