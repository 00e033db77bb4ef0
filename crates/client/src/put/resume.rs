//! Whether an interrupted put goes on. It does if its upload still stands at the auditor, the sealed
//! bytes that lie here are whole, and every file is, as far as it was read, what it was. Whatever is in
//! doubt begins anew, with a word why: what the old upload left on nodes is deleted.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::BASE64;
use holdfast_dispersal::{Checkpoint, OwnerKey};
use holdfast_types::{FRAME_LEN, UploadId};
use holdfast_wire::ErrorCode;

use super::{
    PutOptions, Upload,
    code::read_spooled,
    journal::{Current, Journal, Stamp, State},
    seal::{Resumed, Start, unwrap_key},
};
use crate::{Client, ClientError, Progress};

pub(super) enum Decision {
    /// Begin anew; the old upload is given up.
    Afresh { given_up: Option<UploadId> },
    /// Go on.
    GoOn(Box<(Upload, Start)>),
    /// Everything was acknowledged already.
    Stored(Box<State>),
}

impl Client {
    pub(super) async fn resume(
        &self,
        found: Option<State>,
        journal: &Journal,
        options: &PutOptions,
        paths: Vec<PathBuf>,
        progress: &Arc<dyn Progress>,
    ) -> Result<Decision, ClientError> {
        let Some(state) = found else { return Ok(Decision::Afresh { given_up: None }) };
        let afresh = |why: &str| {
            progress.notice(&format!("an interrupted put of the same files begins anew: {why}"));
            Ok(Decision::Afresh { given_up: Some(state.upload) })
        };
        if options.fresh {
            return afresh("as asked");
        }
        let policy = state.policy.clone();
        let upload = match self.begin(state.upload, &policy, options, progress).await {
            Ok(upload) => upload,
            Err(error) if matches!(error.code(), ErrorCode::Retry) => return Err(error),
            Err(error) => return afresh(&error.to_string()),
        };
        if upload.terms.committed {
            return match unchanged(&state.done, &paths) {
                Ok(()) => Ok(Decision::Stored(Box::new(state))),
                // What was stored stays stored; these are other bytes.
                Err(why) => afresh(&why),
            };
        }
        if upload.terms.staged_segments < state.durable {
            // The upload's row expires some time after its commit, too.
            if self.was_committed(&state, journal, paths.len()).await? {
                let _ = self.auditor.abort_upload(state.upload).await;
                return match unchanged(&state.done, &paths) {
                    Ok(()) => Ok(Decision::Stored(Box::new(state))),
                    Err(why) => afresh(&why),
                };
            }
            return afresh("its upload has expired");
        }
        if !state.fits(&upload.terms) {
            return afresh("its upload stands under other terms now");
        }
        let owner = self.owner.clone();
        let spools = state.spooled.iter().filter_map(|spooled| journal.spool_path(spooled.id)).collect::<Vec<_>>();
        let examined = tokio::task::spawn_blocking({
            let state = state.clone();
            move || {
                for (spooled, path) in state.spooled.iter().zip(&spools) {
                    read_spooled(spooled, path).map_err(|why| format!("{}: {why}", path.display()))?;
                }
                examine(&owner, state, &paths)
            }
        });
        match examined.await.map_err(|error| ClientError::Bug(error.to_string()))? {
            Ok(start) => {
                progress.notice(&format!("an interrupted put goes on after {} bytes", start.plain_before()));
                Ok(Decision::GoOn(Box::new((upload, start))))
            }
            Err(why) => afresh(&why),
        }
    }

    /// A commit is one transaction: if its first object is there, all are.
    async fn was_committed(&self, state: &State, journal: &Journal, sources: usize) -> Result<bool, ClientError> {
        if state.done.len() != sources || !state.spooled.is_empty() {
            return Ok(false);
        }
        let Some(first) = journal.objects()?.into_iter().next() else { return Ok(false) };
        match self.auditor.object(first.id).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Reads what was read before. Blocks.
fn examine(owner: &OwnerKey, state: State, paths: &[PathBuf]) -> Result<Start, String> {
    let State { upload, done, current, end, spooled, .. } = state;
    if done.len() > paths.len() {
        return Err("its state is of more files".into());
    }
    unchanged(&done, paths)?;
    let current = match current {
        None => None,
        Some(current) => {
            let path = paths.get(done.len()).ok_or("its state is of more files")?;
            let number = done.len() as u32;
            Some(reopen(owner, upload, number, &current, path).map_err(|why| format!("{}: {why}", path.display()))?)
        }
    };
    Ok(Start { done, current, end, spooled })
}

/// Whether the files that were read whole are those that were read.
fn unchanged(done: &[Stamp], paths: &[PathBuf]) -> Result<(), String> {
    for (stamp, path) in done.iter().zip(paths) {
        let now = File::open(path)
            .and_then(|file| Stamp::of(&file))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        if now != *stamp {
            return Err(format!("{} changed since it was stored", path.display()));
        }
    }
    Ok(())
}

/// Opens a file that was sealed in part, and reads up to where that went.
fn reopen(owner: &OwnerKey, upload: UploadId, number: u32, current: &Current, path: &Path) -> Result<Resumed, String> {
    let key = unwrap_key(owner, upload, number, &current.key).ok_or("its key does not open")?;
    let checkpoint = BASE64.decode(current.checkpoint.as_bytes()).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::from_bytes(&checkpoint).map_err(|error| error.to_string())?;
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let stamp = Stamp::of(&file).map_err(|error| error.to_string())?;
    // Every frame before the checkpoint was sealed as not the last one.
    if stamp.len() <= checkpoint.plain_offset() {
        return Err(format!("it has {} bytes left of more than {}", stamp.len(), checkpoint.plain_offset()));
    }
    let prefix = hash(&mut file, checkpoint.plain_offset()).map_err(|error| error.to_string())?;
    if prefix.finalize().to_hex().as_str() != current.prefix {
        return Err(format!("its first {} bytes changed since they were stored", checkpoint.plain_offset()));
    }
    Ok(Resumed { file, stamp, prefix, key, checkpoint, offset: current.offset })
}

/// Of the next `len` bytes; fails if there are fewer.
fn hash(file: &mut File, len: u64) -> io::Result<blake3::Hasher> {
    let (mut hasher, mut left) = (blake3::Hasher::new(), len);
    let mut block = vec![0; FRAME_LEN as usize];
    while left > 0 {
        let want = left.min(FRAME_LEN) as usize;
        file.read_exact(&mut block[..want])?;
        hasher.update(&block[..want]);
        left -= want as u64;
    }
    Ok(hasher)
}
