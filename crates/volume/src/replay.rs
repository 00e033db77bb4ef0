//! Reads a journal back and tells torn from damaged.
//!
//! Every slot says up to which slot the journal had been synced when it was
//! written, and the watermark says it once more. So a broken slot at or below
//! the highest such number was once durable: *damage*, whatever lies after it.
//! Above it lies at most one batch that may never have been acknowledged. There
//! a broken slot with whole ones after it is *unsettled*, and the broken end is
//! a torn tail, which is cut.

use std::io;
use std::ops::Range;

use crate::disk::DiskFile;
use crate::error::VolumeError;
use crate::format::{FileHeader, PAGE, WATERMARK_AT};
use crate::journal::slot_at;
use crate::slot::{Body, Change, Decoded, MetaAssembly, SLOT_LEN, SlotSeal, decode, encode};

/// Read in steps of this size, so that memory does not grow with the journal.
const STEP: usize = 1 << 20;

/// Broken runs remembered one by one; a journal of pure garbage must not fill
/// memory. Beyond, the last run swallows the rest.
const RUNS_MAX: usize = 4096;

/// What a journal turned out to be. Ranges are of slot numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    /// Broken slots that had been durable: what they said is lost.
    pub(crate) damaged: Vec<Range<u64>>,
    /// Broken slots of the last batch, with whole ones after them.
    pub(crate) unsettled: Vec<Range<u64>>,
    /// The broken end, cut.
    pub(crate) torn: Option<Range<u64>>,
    /// The highest slot known to have been synced.
    pub(crate) durable: u64,
    /// The last slot that counts; the next one goes after it.
    pub(crate) last: u64,
    /// The highest data file number ever named.
    pub(crate) highest_file: u32,
    /// Whether every slot carried over from the journal before is whole.
    pub(crate) carried_whole: bool,
}

/// Reads what can be read; the rest of `buf` is zero. A sector that cannot be
/// read costs the page it lies in, not the step.
pub(crate) fn read_tolerant(file: &dyn DiskFile, offset: u64, buf: &mut [u8]) {
    buf.fill(0);
    if file.read_at(offset, buf).is_ok() {
        return;
    }
    for (i, page) in buf.chunks_mut(PAGE as usize).enumerate() {
        page.fill(0);
        if file.read_at(offset + i as u64 * PAGE, page).is_err() {
            page.fill(0);
        }
    }
}

/// Walks the journal, handing every whole change to `apply` in order.
pub(crate) fn replay(
    name: &str,
    file: &dyn DiskFile,
    header: &FileHeader,
    mut apply: impl FnMut(&Change),
) -> Result<Replay, VolumeError> {
    let seal = SlotSeal::of(header);
    let size = file.size().map_err(|e| VolumeError::io(format!("size of {name}"), e))?;
    let before = header.first - 1;
    let mut out = Replay { durable: before, last: before, ..Replay::default() };
    let mut broken: Vec<Range<u64>> = Vec::new();
    let mut assembly = MetaAssembly::default();
    let mut step = vec![0; STEP];
    let mut number = header.first;
    while slot_at(header.first, number) < size {
        let at = slot_at(header.first, number);
        let len = (size - at).next_multiple_of(SLOT_LEN as u64).min(STEP as u64) as usize;
        read_tolerant(file, at, &mut step[..len]);
        for slot in step[..len].as_chunks::<SLOT_LEN>().0 {
            match decode(slot, number, seal) {
                Decoded::Broken => {
                    assembly.interrupt();
                    extend(&mut broken, number);
                }
                Decoded::Newer(kind) => {
                    let what = format!("slot {number} is of the unknown kind {kind}");
                    return Err(VolumeError::Unsupported { file: name.to_owned(), what });
                }
                Decoded::Whole { durable, body } => {
                    out.durable = out.durable.max(durable);
                    out.last = number;
                    let change = match body {
                        Body::MetaPart(part) => assembly.absorb(part),
                        Body::Change(change) => {
                            assembly.interrupt();
                            Some(change)
                        }
                    };
                    if let Some(change) = change {
                        if let Change::Put(r) | Change::Move(r) | Change::Carried(r) = &change {
                            out.highest_file = out.highest_file.max(r.file);
                        }
                        apply(&change);
                    }
                }
            }
            number += 1;
        }
    }
    out.durable = out.durable.max(watermark(file, seal).unwrap_or(0));
    let carried = header.first..header.first.saturating_add(header.carried);
    out.carried_whole =
        carried.is_empty() || (out.last >= carried.end - 1 && broken.iter().all(|r| r.start >= carried.end));
    sort_out(&mut out, broken, number);
    Ok(out)
}

fn watermark(file: &dyn DiskFile, seal: SlotSeal) -> Option<u64> {
    let mut bytes = [0; 32];
    match file.read_at(WATERMARK_AT, &mut bytes) {
        Ok(32) => seal.read_watermark(&bytes),
        Ok(_) | Err(_) => None,
    }
}

fn extend(runs: &mut Vec<Range<u64>>, number: u64) {
    let full = runs.len() == RUNS_MAX;
    match runs.last_mut() {
        Some(last) if full || last.end == number => last.end = number + 1,
        Some(_) | None => runs.push(number..number + 1),
    }
}

/// Splits the broken runs at the highest durable slot and at the last whole one.
fn sort_out(out: &mut Replay, broken: Vec<Range<u64>>, end: u64) {
    // A journal cut short below what was durable has lost those slots just as well.
    let last = out.last.max(out.durable);
    for run in broken {
        push(&mut out.damaged, run.start..run.end.min(out.durable + 1));
        push(&mut out.unsettled, run.start.max(out.durable + 1)..run.end.min(last + 1));
        let torn = run.start.max(last + 1)..run.end;
        if !torn.is_empty() {
            out.torn = Some(torn);
        }
    }
    push(&mut out.damaged, end..out.durable + 1);
    out.last = last;
}

fn push(runs: &mut Vec<Range<u64>>, run: Range<u64>) {
    if !run.is_empty() {
        runs.push(run);
    }
}

/// Makes the end of the journal certain: rewrites everything above the last
/// slot known to be durable, voids what is broken there, and syncs.
///
/// The rewriting is not idle. After a failed fsync the kernel may hold pages it
/// calls clean that never reached the disk; a process that restarts then reads
/// slots that a power cut would take away. Written again, they are synced again.
pub(crate) fn settle_tail(file: &dyn DiskFile, header: &FileHeader, found: &Replay) -> io::Result<()> {
    let seal = SlotSeal::of(header);
    let end = slot_at(header.first, found.last + 1);
    let start = found.durable + 1;
    if start > found.last && file.size()? == end {
        return Ok(());
    }
    let mut step = vec![0; STEP];
    let mut number = start;
    while number <= found.last {
        let at = slot_at(header.first, number);
        let len = (end - at).min(STEP as u64) as usize;
        read_tolerant(file, at, &mut step[..len]);
        for slot in step[..len].as_chunks_mut::<SLOT_LEN>().0 {
            if decode(slot, number, seal) == Decoded::Broken {
                let mut void = Vec::with_capacity(SLOT_LEN);
                encode(&Change::Void, number, found.durable, seal, &mut void);
                slot.copy_from_slice(&void);
            }
            number += 1;
        }
        file.write_at(at, &step[..len])?;
    }
    file.truncate(end)?;
    file.sync()?;
    // Durable from here on, so that the next start has no doubt about it.
    let _ = file.write_at(WATERMARK_AT, &seal.watermark(found.last));
    Ok(())
}
