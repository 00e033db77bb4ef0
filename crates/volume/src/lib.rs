//! Append-only volumes with namespaces over a [`Disk`] trait.
//!
//! A volume is a directory of *data files*, which hold the records, and one
//! *journal*, which says which records there are. A record is written by
//! stream into an extent reserved up front, sealed, and committed together
//! with whatever else is sealed at that moment:
//!
//! ```text
//! reserve ─► write… ─► seal ─┐
//! reserve ─► write… ─► seal ─┼─► commit: sync data ─► append journal ─► sync journal ─► index
//! delete, set_meta, … ───────┘
//! ```
//!
//! What [`Volume::commit`] returned is there after any crash; what it did not
//! return is absent or, if the journal had reached the disk, whole. Bytes whose
//! checksum fails are named by range and never served as good; everything else
//! still is. A failed fsync makes the volume read-only, because nothing said
//! after it could be believed. A full disk refuses what needs room; reads and
//! deletes go on, and so does the rest as soon as there is room.
//!
//! One thread owns the [`Volume`]; any number of [`Reader`]s share its index.
//! The bytes on disk are drawn in `docs/formats/volume.md`.
//!
//! ```
//! use holdfast_volume::{FakeDisk, Identity, Key, Namespace, Options, Volume};
//! # fn main() -> Result<(), holdfast_volume::VolumeError> {
//! let disk = FakeDisk::new();
//! let fresh = Identity { volume: [1; 16], incarnation: [2; 16] };
//! let (mut volume, _report) = Volume::open(disk.handle(), Options::default(), fresh)?;
//!
//! let key = Key { kind: 0, id: [7; 32] };
//! let mut reservation = volume.reserve(Namespace([9; 32]), key, 5)?;
//! reservation.write(b"tide ")?;
//! volume.seal(reservation)?;
//! assert!(!volume.contains(&key)); // durable before visible
//! volume.commit()?;
//! assert_eq!(volume.read(&key, 0..4)?.bytes, b"tide");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod commit;
mod compact;
mod direct;
mod disk;
mod error;
mod extent;
mod fake_disk;
mod fake_file;
mod fake_inode;
mod file_disk;
mod format;
mod index;
mod inspect;
mod journal;
mod key;
mod open;
mod reader;
mod replay;
mod rewrite;
mod room;
mod slot;
mod space;
mod stream;
mod volume;

pub use commit::Committed;
pub use compact::CompactStep;
pub use direct::DirectBuffer;
pub use disk::{Disk, DiskFile};
pub use error::{Advice, VolumeError};
pub use extent::Reservation;
pub use fake_disk::FakeDisk;
pub use file_disk::FileDisk;
pub use format::{Identity, PIECE_LEN, RECORD_LEN_MAX};
pub use index::{Entry, Location, Usage};
pub use inspect::{Inspection, inspect};
pub use key::{Key, Namespace, Sequence};
pub use open::OpenReport;
pub use reader::{READ_LEN_MAX, RUN_LEN, Read, Reader, Scrub};
pub use slot::META_LEN_MAX;
pub use space::Space;
pub use stream::{Piece, PieceStream};
pub use volume::{Options, SMALL_LEN_MAX, Volume};
