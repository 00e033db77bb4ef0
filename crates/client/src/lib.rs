//! Put and get: the driver of their machines, and the links to nodes and auditor.
//!
//! ```text
//! sources ─► seal ─► code ─► [journal] ─► put machine ─► StageSegment, PutShard × n, NoteReceipts, CommitUpload
//! sink    ◄─ open ◄─ assemble ◄────────── get machine ◄─ LocateExtents, GetShard × k
//! ```
//!
//! What to do is decided in [`holdfast_protocol::put`] and [`holdfast_protocol::get`]; here it is done.
//! Bytes stream: a put holds at most [`put::IN_FLIGHT_LEN_MAX`] of coded segments, a get two segments.
//! Keys never leave this process but wrapped.
//!
//! ```no_run
//! # async fn example() -> Result<(), holdfast_client::ClientError> {
//! use std::sync::Arc;
//! use holdfast_client::{Client, ClientConfig, PutOptions, Quiet, Source};
//!
//! let config = ClientConfig::load("client.toml".as_ref())?;
//! let client = Client::connect(&config).await?;
//! let put = client.put(vec![Source::file("photo.raw")], PutOptions::default(), Arc::new(Quiet)).await?;
//! let object = put.objects[0].id;
//! let (report, _stdout) = client.get(object, None, std::io::stdout(), Arc::new(Quiet)).await?;
//! assert_eq!(report.bytes, put.bytes);
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod auditor;
mod chance;
mod client;
mod clock;
mod config;
mod error;
mod file;
pub mod get;
mod key_file;
pub mod link;
mod progress;
pub mod put;
mod source;
mod stat;

pub use auditor::{Auditor, ClusterStatus, CommitmentsView, ExtentStream, ProfileView, RepairWatch, VerdictWatch};
pub use client::Client;
pub use config::{ClientConfig, POLICY_DEFAULT, TlsFiles};
pub use error::ClientError;
pub use get::{GetReport, MetShard};
pub use key_file::OwnerKeyFile;
pub use link::{LinkError, Links, NodeLink};
pub use progress::{Progress, Quiet};
pub use put::{Commit, ManyReport, Outcome, PutObject, PutOptions, PutReport};
pub use source::Source;
pub use stat::{ObjectStat, SegmentStat, ShardStat};
