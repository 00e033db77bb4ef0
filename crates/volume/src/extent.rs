//! Writes one record's bytes into the extent reserved for it.
//!
//! A [`Reservation`] may travel to the thread that receives the bytes: extents
//! are disjoint, so writing needs neither the volume nor a lock. Dropped
//! anywhere, it gives its space back; only the volume can seal it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::DiskFile;
use crate::error::VolumeError;
use crate::format::{PIECE_LEN, PieceSum, encode_trailer, pieces, table_at};
use crate::index::Record;
use crate::key::Key;

/// Streams a payload into its extent, a checksum a piece.
#[derive(Debug)]
pub(crate) struct ExtentWriter {
    file: Arc<dyn DiskFile>,
    record: Record,
    written: u64,
    current: PieceSum,
    sums: Vec<u32>,
}

impl ExtentWriter {
    pub(crate) fn new(file: Arc<dyn DiskFile>, record: Record) -> Self {
        let current = PieceSum::start(&record.key, record.len, 0);
        Self { file, record, written: 0, current, sums: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_at(self.record.offset + self.written, bytes)?;
        self.absorb(bytes);
        Ok(())
    }

    fn absorb(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = PIECE_LEN - self.written % PIECE_LEN;
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.current.absorb(now);
            self.written += now.len() as u64;
            if self.written.is_multiple_of(PIECE_LEN) || self.written == self.record.len {
                self.sums.push(self.current.finish());
                let next = self.sums.len() as u32;
                self.current = PieceSum::start(&self.record.key, self.record.len, next);
            }
            bytes = later;
        }
    }

    fn end(&self) -> Vec<u8> {
        debug_assert_eq!(self.written, self.record.len);
        debug_assert_eq!(self.sums.len() as u32, pieces(self.record.len));
        let mut out: Vec<u8> = self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        out.extend_from_slice(&encode_trailer(&self.record.key, &self.record.namespace, self.record.len));
        out
    }

    /// Writes the checksums and the trailer behind the payload.
    pub(crate) fn finish(self) -> std::io::Result<Record> {
        self.file.write_at(self.record.offset + table_at(self.record.len), &self.end())?;
        Ok(self.record)
    }

    /// Writes a whole small extent at once.
    pub(crate) fn write_whole(mut self, bytes: &[u8]) -> std::io::Result<Record> {
        debug_assert_eq!(bytes.len() as u64, self.record.len);
        self.absorb(bytes);
        let mut extent = bytes.to_vec();
        extent.resize(table_at(self.record.len) as usize, 0);
        extent.extend_from_slice(&self.end());
        self.file.write_at(self.record.offset, &extent)?;
        Ok(self.record)
    }
}

/// What the volume must take back when a reservation ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) record: Record,
    pub(crate) replaces: bool,
}

/// Tickets of reservations dropped since the writer last looked.
pub(crate) type Abandoned = Arc<Mutex<Vec<Ticket>>>;

/// Space set aside for one record, being filled.
///
/// Dropping it gives the space back.
#[derive(Debug)]
pub struct Reservation {
    writer: Option<ExtentWriter>,
    ticket: Option<Ticket>,
    abandoned: Abandoned,
}

impl Reservation {
    pub(crate) fn new(writer: ExtentWriter, ticket: Ticket, abandoned: Abandoned) -> Self {
        Self { writer: Some(writer), ticket: Some(ticket), abandoned }
    }

    /// The record's name.
    #[must_use]
    pub fn key(&self) -> Key {
        // Present until the volume takes it, which takes `self` with it.
        self.ticket.map_or(Key { kind: 0, id: [0; 32] }, |t| t.record.key)
    }

    /// Bytes reserved.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ticket.map_or(0, |t| t.record.len)
    }

    /// Whether nothing at all is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.writer.as_ref().map_or(0, |w| w.written)
    }

    /// Writes the next bytes, of any number up to what is left.
    ///
    /// # Errors
    /// [`VolumeError::Overrun`] (nothing written), [`VolumeError::Full`] or
    /// [`VolumeError::Io`]; after the latter two only [`VolumeError::Broken`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), VolumeError> {
        let Some(writer) = &mut self.writer else {
            return Err(VolumeError::Broken);
        };
        let (len, written, more) = (writer.record.len, writer.written, bytes.len() as u64);
        if more > len - written {
            return Err(VolumeError::Overrun { len, written, more });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        writer.write(bytes).map_err(|e| {
            self.writer = None;
            VolumeError::write("writing a record", more, e)
        })
    }

    /// Ends the payload. The ticket stays with `self` until [`Self::take_ticket`].
    pub(crate) fn finish(&mut self) -> Result<Record, VolumeError> {
        let writer = self.writer.take().ok_or(VolumeError::Broken)?;
        if writer.written != writer.record.len {
            return Err(VolumeError::Incomplete { len: writer.record.len, written: writer.written });
        }
        writer.finish().map_err(|e| VolumeError::write("sealing a record", 0, e))
    }

    pub(crate) fn write_whole(&mut self, bytes: &[u8]) -> Result<Record, VolumeError> {
        let writer = self.writer.take().ok_or(VolumeError::Broken)?;
        let needed = writer.record.extent();
        writer.write_whole(bytes).map_err(|e| VolumeError::write("writing a small record", needed, e))
    }

    pub(crate) fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    /// From here on, dropping `self` gives nothing back.
    pub(crate) fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
        }
    }
}
