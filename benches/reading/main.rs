//! Whether a node proves every byte as fast as its disk reads: a full fold of a volume, by the code that answers
//! challenges, beside two ways to do no more than read the same files, in turn, all with a cold cache. One is `read`, with
//! the kernel told of what comes; the other is the fold's own, past the cache and into huge pages.
//! `cargo bench -p holdfast-benches --bench reading [-- --quick] [-- --json]`
//!
//! Cold means that the kernel was told to forget the files, and that its own count of bytes fetched from the disk says
//! that it did; a file system that keeps everything in memory is refused. The rate is of the payload, so what a volume
//! stores beside it (checksums, outboards) counts against the fold.

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use holdfast_kzg::{BLOB_LEN, Setup};
use holdfast_node::reading::{self, Watch};
use holdfast_protocol::{
    message::{AnswerBody, Ask, Challenge, SetEntry},
    responder::OUTBOARD_KIND,
    set,
};
use holdfast_types::{AuditId, Millis, NodeId, Seed, Sequence, ShardId};
use holdfast_volume::{FileDisk, Identity, Key, Namespace, Options, RUN_LEN, Reader, Volume};
use holdfast_wire::WireError;
use memmap2::{Advice, MmapMut};
use merkle_cid::Outboard;
use serde_json::json;

/// A shard of a full segment at 8+4.
const SHARD_LEN: usize = 33 * BLOB_LEN;
/// How a node keys its shards.
const SHARD_KIND: u8 = 0;
/// Of a data file: a node leaves the one that it writes to the cache, and of a full disk that is next to nothing.
const FILE_LEN: u64 = 64 << 20;
/// Bytes of one plain read.
const READ_LEN: usize = 8 * BLOB_LEN;
/// Plain reads that the disk is told of beforehand: a loop alone leaves it waiting between two of them.
const AHEAD: u64 = 24;
/// Threads of the fold that read.
const READERS: usize = 5;
const HUGE_PAGE: usize = 2 << 20;
/// Of what was read, what must have come from the disk for the cache to count as cold.
const COLD_MIN: f64 = 0.9;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut shards, mut rounds, mut json) = (512, 4, false);
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "--quick" => (shards, rounds) = (64, 3),
            "--json" => json = true,
            // What cargo says to every bench.
            "--bench" => {}
            other => return Err(format!("expected --quick or --json, got {other:?}").into()),
        }
    }
    // In the target directory: /tmp may be memory.
    let home = tempfile::TempDir::with_prefix_in("reading-", env!("CARGO_TARGET_TMPDIR"))?;
    let reader = fill(home.path(), shards)?;
    let challenge = everything(&reader)?;
    // What the first opening ever would otherwise pay for.
    Setup::ethereum().prepare();
    let before = peak_memory()?;
    let (mut plain, mut direct, mut fold) = (f64::MAX, f64::MAX, f64::MAX);
    let mut memory = 0;
    for round in 0..rounds {
        fold = fold.min(cold(home.path(), || read_as_challenged(&reader, &challenge))?);
        if round == 0 {
            memory = peak_memory()?.saturating_sub(before);
        }
        plain = plain.min(cold(home.path(), || read_plainly(home.path()))?);
        direct = direct.min(cold(home.path(), || read_directly(home.path()))?);
    }
    let (stored, payload) = (stored(home.path())?, (shards * SHARD_LEN) as u64);
    let (plain, direct, fold) = (stored as f64 / plain, stored as f64 / direct, payload as f64 / fold);
    if json {
        let object = json!({
            "bytes": payload, "rounds": rounds, "plain_mb_per_s": plain / 1e6,
            "direct_mb_per_s": direct / 1e6, "fold_mb_per_s": fold / 1e6,
            "memory_mb": memory as f64 / 1e6,
        });
        println!("{object}");
    } else {
        println!("plain reads  {:>8.0} MB/s of {} files' bytes", plain / 1e6, stored);
        println!("direct reads {:>8.0} MB/s of the same, {READERS} at a time into huge pages", direct / 1e6);
        println!(
            "full fold    {:>8.0} MB/s of {payload} bytes of shards, {:.2} of the faster",
            fold / 1e6,
            fold / plain.max(direct)
        );
        println!("its memory   {:>8.1} MB at most, above what the process had", memory as f64 / 1e6);
    }
    Ok(())
}

/// A volume of that many shards, each with its outboard, as a node leaves it.
fn fill(home: &Path, shards: usize) -> Result<Reader, Box<dyn Error>> {
    let fresh = Identity { volume: [1; 16], incarnation: [2; 16] };
    let options = Options { file_len_max: FILE_LEN, ..Options::default() };
    let (mut volume, _) = Volume::open(FileDisk::open(home)?, options, fresh)?;
    let mut bytes = vec![0; SHARD_LEN];
    for number in 0..shards as u64 {
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let outboard = Outboard::of(&bytes);
        let id = *outboard.root().as_bytes();
        for (kind, content) in [(SHARD_KIND, &bytes), (OUTBOARD_KIND, &outboard.into_bytes())] {
            let mut reservation = volume.reserve(Namespace([3; 32]), Key { kind, id }, content.len() as u64)?;
            reservation.write(content)?;
            volume.seal(reservation)?;
        }
        volume.commit()?;
    }
    Ok(volume.reader())
}

/// The question for all of it.
fn everything(reader: &Reader) -> Result<Challenge, Box<dyn Error>> {
    let found =
        reader.entries(&[SHARD_KIND], holdfast_volume::Sequence::START..holdfast_volume::Sequence::END, usize::MAX);
    let entry = |entry: &holdfast_volume::Entry| SetEntry {
        sequence: Sequence(entry.sequence.0),
        shard: ShardId::from_bytes(entry.key.id),
        len: entry.len,
    };
    let entries: Vec<SetEntry> = found.iter().map(entry).collect();
    let blobs = entries.iter().map(|entry| entry.len.div_ceil(BLOB_LEN as u64)).sum();
    Ok(Challenge {
        audit: AuditId([7; 32]),
        node: NodeId([9; 32]),
        set: set::reference(&entries),
        commitments: [0; 32],
        seed: Seed([8; 32]),
        ask: Ask::Fold { from: 0, to: blobs },
        deadline: Millis::from_secs(600),
    })
}

/// Looks away, but for damage, of which there is none.
struct NoLimit;

impl Watch for NoLimit {
    fn before(&mut self, _len: u64) -> Result<(), WireError> {
        Ok(())
    }

    fn damaged(&mut self, shard: ShardId, ranges: &[Range<u64>]) {
        assert!(ranges.is_empty(), "{shard} is damaged at {ranges:?}");
    }
}

fn read_as_challenged(reader: &Reader, challenge: &Challenge) -> Result<(), Box<dyn Error>> {
    match reading::answer(reader, challenge, &mut NoLimit)? {
        AnswerBody::Fold { damaged, missing, .. } if damaged.is_empty() && missing.is_empty() => Ok(()),
        other => Err(format!("expected a fold of everything, got {other:?}").into()),
    }
}

fn paths(home: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths: Vec<_> =
        fs::read_dir(home)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("data-")));
    paths.sort();
    Ok(paths)
}

fn files(home: &Path) -> Result<Vec<File>, Box<dyn Error>> {
    Ok(paths(home)?.iter().map(File::open).collect::<Result<_, _>>()?)
}

fn stored(home: &Path) -> Result<u64, Box<dyn Error>> {
    files(home)?.iter().map(|file| Ok(file.metadata()?.len())).sum()
}

fn read_plainly(home: &Path) -> Result<(), Box<dyn Error>> {
    let mut buffer = vec![0; READ_LEN];
    for file in files(home)? {
        let will_need = |from: u64, reads: u64| {
            let len = NonZeroU64::new(reads * READ_LEN as u64);
            rustix::fs::fadvise(&file, from * READ_LEN as u64, len, rustix::fs::Advice::WillNeed)
        };
        will_need(0, AHEAD)?;
        for ahead in AHEAD.. {
            if (&file).read(&mut buffer)? == 0 {
                break;
            }
            will_need(ahead, 1)?;
        }
    }
    Ok(())
}

/// As the fold reads, and nothing else.
fn read_directly(home: &Path) -> Result<(), Box<dyn Error>> {
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    for path in paths(home)? {
        let (file, next) = (OpenOptions::new().read(true).custom_flags(flags).open(path)?, AtomicU64::new(0));
        let read = || -> io::Result<()> {
            let mut map = MmapMut::map_anon(2 * HUGE_PAGE)?;
            // A kernel that has none gives ordinary ones, to the fold too.
            let _ = map.advise(Advice::HugePage);
            let start = map.as_ptr().align_offset(HUGE_PAGE);
            let buffer = &mut map[start..start + RUN_LEN as usize];
            while file.read_at(buffer, next.fetch_add(RUN_LEN, Ordering::Relaxed))? > 0 {}
            Ok(())
        };
        thread::scope(|scope| -> io::Result<()> {
            let readers = [(); READERS].map(|()| scope.spawn(read));
            for reader in readers {
                reader.join().map_err(|_| io::Error::other("a reading thread panicked"))??;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Seconds that `work` takes when nothing of the files is in memory.
fn cold(home: &Path, work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    for file in files(home)? {
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    let (fetched, began) = (fetched()?, Instant::now());
    work()?;
    let seconds = began.elapsed().as_secs_f64();
    let (fetched, stored) = (self::fetched()? - fetched, stored(home)?);
    if (fetched as f64) < COLD_MIN * stored as f64 {
        return Err(format!(
            "expected {stored} bytes to come from the disk, {fetched} did: this file system cannot be measured cold; \
             set CARGO_TARGET_DIR to one that is on a disk"
        )
        .into());
    }
    Ok(seconds)
}

/// Bytes that the kernel fetched from disks for this process so far.
fn fetched() -> Result<u64, Box<dyn Error>> {
    number("/proc/self/io", "read_bytes:")
}

/// The most memory this process ever had, in bytes.
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    Ok(number("/proc/self/status", "VmHWM:")? * 1024)
}

fn number(path: &str, name: &str) -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    found.ok_or_else(|| format!("expected {name:?} in {path}, it is not there").into())
}
