//! Finds out, at start, what is there: durable, torn, damaged or missing.
//!
//! The journal is replayed and its end made certain; data files are matched
//! against it, and what lies behind their last committed extent is given back.
//! Damage never keeps the rest from being served: it is reported, and every
//! read names it again.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::VolumeError;
use crate::format::{
    FileHeader, HEADER_LEN, Identity, PAGE, RECORD_LEN_MAX, Role, data_name, journal_name, parse_name,
};
use crate::index::{Index, Shared};
use crate::journal::Journal;
use crate::replay::{Replay, replay, settle_tail};
use crate::room::{give_up_reserve, keep_reserve};
use crate::space::FileState;
use crate::volume::{Options, Volume};

/// What [`Volume::open`] found. Slot ranges count journal slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The directory was empty, or wiped, and this is a new volume.
    pub created: bool,
    /// Committed records.
    pub records: u64,
    /// Slots that had been durable and are lost, with what they said: a record
    /// may be gone, a deleted one back, a moved one unreadable.
    pub journal_damaged: Vec<Range<u64>>,
    /// Broken slots in the very last batch, with whole ones after them: torn by a
    /// crash before they were acknowledged, or damaged right after.
    pub journal_unsettled: Vec<Range<u64>>,
    /// The torn end of the last batch, cut: never acknowledged.
    pub journal_torn: Option<Range<u64>>,
    /// Files of which a header copy was damaged and is whole again.
    pub headers_repaired: Vec<String>,
    /// Files that records point into and that are gone, or another volume's.
    pub files_missing: Vec<String>,
    /// Files that end before the records they should hold.
    pub files_short: Vec<String>,
    /// Bytes behind the last committed extents, given back.
    pub reclaimed: u64,
    /// What a full disk kept from being written: the volume only reads until there is room.
    pub no_room: Option<String>,
}

impl OpenReport {
    fn found(&mut self, replay: &Replay) {
        self.journal_damaged.clone_from(&replay.damaged);
        self.journal_unsettled.clone_from(&replay.unsettled);
        self.journal_torn.clone_from(&replay.torn);
    }

    /// Whether nothing is damaged. A torn end is the normal trace of a crash.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.journal_damaged.is_empty()
            && self.journal_unsettled.is_empty()
            && self.headers_repaired.is_empty()
            && self.files_missing.is_empty()
            && self.files_short.is_empty()
            && self.no_room.is_none()
    }
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.created { "new volume" } else { "volume" };
        write!(f, "{what}, {} records", self.records)?;
        for slots in &self.journal_damaged {
            write!(f, "; journal slots {}..{} DAMAGED, what they said is lost", slots.start, slots.end)?;
        }
        for slots in &self.journal_unsettled {
            write!(f, "; journal slots {}..{} of the last batch unreadable", slots.start, slots.end)?;
        }
        if let Some(slots) = &self.journal_torn {
            write!(f, "; torn journal end cut, slots {}..{}", slots.start, slots.end)?;
        }
        for (what, names) in [
            ("header repaired", &self.headers_repaired),
            ("MISSING", &self.files_missing),
            ("TRUNCATED", &self.files_short),
        ] {
            for name in names {
                write!(f, "; {name} {what}")?;
            }
        }
        if self.reclaimed > 0 {
            write!(f, "; {} uncommitted bytes given back", self.reclaimed)?;
        }
        if let Some(what) = &self.no_room {
            write!(f, "; READ-ONLY until the disk has room: {what}")?;
        }
        Ok(())
    }
}

/// A journal, chosen and read.
pub(crate) struct Loaded {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: FileHeader,
    pub(crate) header_whole: bool,
    pub(crate) replay: Replay,
    pub(crate) index: Index,
}

/// The numbers of the volume's files.
#[derive(Default)]
pub(crate) struct Listing {
    journals: Vec<u32>,
    data: Vec<u32>,
}

impl Listing {
    pub(crate) fn of(disk: &dyn Disk) -> Result<Self, VolumeError> {
        let names = disk.list().map_err(|e| VolumeError::io("listing the volume's directory", e))?;
        let mut out = Self::default();
        for (role, number) in names.iter().filter_map(|name| parse_name(name)) {
            match role {
                Role::Journal => out.journals.push(number),
                Role::Data => out.data.push(number),
            }
        }
        out.journals.sort_unstable();
        out.data.sort_unstable();
        Ok(out)
    }
}

/// Reads the newest journal that is complete; `None` when none has a header.
pub(crate) fn load(disk: &dyn Disk, listing: &Listing) -> Result<Option<Loaded>, VolumeError> {
    let mut best = None;
    for number in listing.journals.iter().rev() {
        let name = journal_name(*number);
        let file = disk.open(&name).map_err(|e| VolumeError::io(format!("opening {name}"), e))?;
        let Some((header, header_whole)) = FileHeader::read(&name, file.as_ref())? else { continue };
        let size = file.size().map_err(|e| VolumeError::io(format!("size of {name}"), e))?;
        // Cut inside its header, it cannot say how much it held: as good as headless.
        if header.role != Role::Journal || header.number != *number || header.first == 0 || size < HEADER_LEN {
            continue;
        }
        let mut index = Index::default();
        let replay = replay(&name, file.as_ref(), &header, |change| {
            index.apply(change);
        })?;
        let complete = replay.carried_whole;
        // An older one still there means that this one never took over, unless it
        // is whole; with no older one, it did, and what it lost is damage.
        best = Some(Loaded { file, header, header_whole, replay, index });
        if complete {
            break;
        }
    }
    Ok(best)
}

impl Volume {
    /// Opens the volume on `disk`, or makes one called `fresh` where there is none. One that cannot be settled because
    /// the disk is full opens for reading, and takes writes again by itself: see [`Volume::waits_for_room`].
    ///
    /// # Errors
    /// [`VolumeError::Unsupported`] for files of a newer format,
    /// [`VolumeError::Damaged`] when the journal is gone or headless while there
    /// still are data files, [`VolumeError::Full`] when there is no room to make
    /// a new one, [`VolumeError::Io`].
    pub fn open(disk: Arc<dyn Disk>, options: Options, fresh: Identity) -> Result<(Self, OpenReport), VolumeError> {
        let options = Options {
            // A whole number of pages, with room for at least one small record.
            file_len_max: options.file_len_max.clamp(HEADER_LEN + PAGE, RECORD_LEN_MAX) / PAGE * PAGE,
            ..options
        };
        let mut opened = Self::attempt(Arc::clone(&disk), options.clone(), fresh);
        if matches!(opened, Err(VolumeError::Full { .. })) && give_up_reserve(disk.as_ref()) {
            opened = Self::attempt(Arc::clone(&disk), options.clone(), fresh);
        }
        let (volume, report) = match opened {
            Err(full @ VolumeError::Full { .. }) => Self::look(disk, options, full)?,
            opened => opened?,
        };
        if report.no_room.is_none() {
            keep_reserve(volume.disk.as_ref(), &volume.options);
        }
        Ok((volume, report))
    }

    /// Opens what is there for reading and writes nothing, for want of room. What a start would cut stays, and is not
    /// served: the index does not name it.
    fn look(disk: Arc<dyn Disk>, options: Options, full: VolumeError) -> Result<(Self, OpenReport), VolumeError> {
        let listing = Listing::of(disk.as_ref())?;
        // None: it was to be made. Nothing is lost with it.
        let Some(loaded) = load(disk.as_ref(), &listing)? else { return Err(full) };
        let mut report = OpenReport { no_room: Some(full.to_string()), ..OpenReport::default() };
        report.found(&loaded.replay);
        let Loaded { file, header, replay, mut index, .. } = loaded;
        let files = adopt(disk.as_ref(), &listing, &header.identity, &mut index, &mut report)?;
        report.records = index.len();
        let highest = listing.data.last().copied().unwrap_or(0).max(replay.highest_file);
        let journal = Journal::resume(file, header, replay.last);
        let mut volume =
            Self::assemble(disk, options, header.identity, Shared::new(index), journal, files, highest + 1);
        volume.waits_for_room = true;
        volume.read_only =
            Some(format!("{full} when it was opened; it takes writes again by itself once there is room"));
        Ok((volume, report))
    }

    /// One try to open it for writing.
    pub(crate) fn attempt(
        disk: Arc<dyn Disk>,
        options: Options,
        fresh: Identity,
    ) -> Result<(Self, OpenReport), VolumeError> {
        let listing = Listing::of(disk.as_ref())?;
        let mut report = OpenReport::default();
        let loaded = match load(disk.as_ref(), &listing)? {
            Some(loaded) => loaded,
            None => {
                report.created = true;
                create(disk.as_ref(), &listing, fresh)?
            }
        };
        let chosen = loaded.header.number;
        settle(&loaded, &mut report)?;
        if !report.created {
            remove_other_journals(disk.as_ref(), &listing, chosen)?;
        }
        let Loaded { file, header, replay, mut index, .. } = loaded;
        let files = if report.created {
            BTreeMap::new()
        } else {
            adopt(disk.as_ref(), &listing, &header.identity, &mut index, &mut report)?
        };
        report.records = index.len();
        let highest = listing.data.last().copied().unwrap_or(0).max(replay.highest_file);
        let journal = Journal::resume(file, header, replay.last);
        let mut volume =
            Self::assemble(disk, options, header.identity, Shared::new(index), journal, files, highest + 1);
        if !report.journal_damaged.is_empty() {
            volume.evidence = volume.files.keys().copied().collect();
        }
        Ok((volume, report))
    }
}

/// Makes a new volume. Whatever of an older one is left must be empty: a journal
/// that never got its header, or files somebody truncated to nothing.
fn create(disk: &dyn Disk, listing: &Listing, identity: Identity) -> Result<Loaded, VolumeError> {
    let journals = listing.journals.iter().map(|n| (journal_name(*n), HEADER_LEN));
    let leftovers: Vec<(String, u64)> = journals.chain(listing.data.iter().map(|n| (data_name(*n), 0))).collect();
    for (name, len_max) in &leftovers {
        let size = disk.open(name).and_then(|file| file.size());
        if size.map_err(|e| VolumeError::io(format!("looking at {name}"), e))? > *len_max {
            let what = "the volume has no readable journal, but files with content: move them away to start anew, or restore the journal";
            return Err(VolumeError::damaged(name, what));
        }
    }
    for (name, _) in &leftovers {
        disk.remove(name).map_err(|e| VolumeError::io(format!("removing the empty {name}"), e))?;
    }
    let number = listing.journals.last().copied().unwrap_or(0) + 1;
    let header = FileHeader { role: Role::Journal, number, identity, first: 1, carried: 0 };
    let name = journal_name(number);
    let file = disk.create(&name).map_err(|e| VolumeError::write("making the journal", HEADER_LEN, e))?;
    header.write(file.as_ref()).map_err(|e| VolumeError::write("writing the journal's header", HEADER_LEN, e))?;
    let synced = file.sync().and_then(|()| disk.sync_dir());
    synced.map_err(|e| VolumeError::io("syncing the new journal", e))?;
    let replay = Replay { carried_whole: true, ..Replay::default() };
    Ok(Loaded { file, header, header_whole: true, replay, index: Index::default() })
}

/// Makes the chosen journal whole at both ends.
fn settle(loaded: &Loaded, report: &mut OpenReport) -> Result<(), VolumeError> {
    let name = journal_name(loaded.header.number);
    let replay = &loaded.replay;
    report.found(replay);
    settle_tail(loaded.file.as_ref(), &loaded.header, replay)
        .map_err(|e| VolumeError::write(&format!("settling the end of {name}"), 0, e))?;
    if !loaded.header_whole {
        repair_header(&name, loaded.file.as_ref(), &loaded.header, report)?;
    }
    Ok(())
}

/// One whole copy left is one flip away from none.
fn repair_header(
    name: &str,
    file: &dyn DiskFile,
    header: &FileHeader,
    report: &mut OpenReport,
) -> Result<(), VolumeError> {
    let written = header.rewrite(file).and_then(|()| file.sync());
    written.map_err(|e| VolumeError::write(&format!("repairing the header of {name}"), HEADER_LEN, e))?;
    report.headers_repaired.push(name.to_owned());
    Ok(())
}

/// An unfinished newer journal, or the older one a finished rewrite left behind.
fn remove_other_journals(disk: &dyn Disk, listing: &Listing, chosen: u32) -> Result<(), VolumeError> {
    let others: Vec<String> = listing.journals.iter().filter(|n| **n != chosen).map(|n| journal_name(*n)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let removed = others.iter().try_for_each(|name| disk.remove(name)).and_then(|()| disk.sync_dir());
    removed.map_err(|e| VolumeError::io("removing a superseded journal", e))
}

/// Matches the data files against the index: opens, repairs, gives back. Without room it only opens.
fn adopt(
    disk: &dyn Disk,
    listing: &Listing,
    identity: &Identity,
    index: &mut Index,
    report: &mut OpenReport,
) -> Result<BTreeMap<u32, FileState>, VolumeError> {
    // By file: bytes of live extents, and where the last of them ends.
    let mut live: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for record in index.all() {
        let (bytes, end) = live.entry(record.file).or_insert((0, HEADER_LEN));
        *bytes += record.extent();
        *end = (*end).max(record.offset + record.extent());
    }
    let mut files = BTreeMap::new();
    for number in &listing.data {
        let name = data_name(*number);
        let file = disk.open(&name).map_err(|e| VolumeError::io(format!("opening {name}"), e))?;
        let size = file.size().map_err(|e| VolumeError::io(format!("size of {name}"), e))?;
        let expected = FileHeader { role: Role::Data, number: *number, identity: *identity, first: 0, carried: 0 };
        let header = FileHeader::read(&name, file.as_ref())?;
        if header.is_some_and(|(found, _)| found != expected) {
            // Somebody put it there; it is not ours to read or remove.
            report.files_missing.push(name);
            continue;
        }
        // What a damaged journal no longer names may be all that is left of it:
        // then nothing is thrown away, and new extents go behind it.
        let keep = !report.journal_damaged.is_empty();
        let looks = report.no_room.is_some();
        let (bytes, mut end) = match live.get(number).copied() {
            Some(there) => there,
            None if keep || looks => (0, HEADER_LEN),
            None => {
                disk.remove(&name)
                    .map_err(|e| VolumeError::write(&format!("removing the uncommitted {name}"), 0, e))?;
                report.reclaimed += size.saturating_sub(HEADER_LEN);
                continue;
            }
        };
        if size < end {
            report.files_short.push(name.clone());
        } else if keep {
            end = size.next_multiple_of(PAGE);
        } else if size > end && !looks {
            file.truncate(end).map_err(|e| VolumeError::write(&format!("truncating {name}"), 0, e))?;
            report.reclaimed += size - end;
        }
        if !looks && !header.is_some_and(|(_, whole)| whole) {
            repair_header(&name, file.as_ref(), &expected, report)?;
        }
        index.files.insert(*number, Arc::clone(&file));
        files.insert(*number, FileState { handle: file, tail: end, live: bytes, in_flight: 0, dirty: false });
    }
    for number in live.keys().filter(|n| !listing.data.contains(n)) {
        report.files_missing.push(data_name(*number));
    }
    Ok(files)
}
