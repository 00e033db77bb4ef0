//! The verbs, one file each.

mod audit;
mod auditor;
mod completions;
mod demo;
mod get;
mod key;
mod ls;
mod node;
mod pki;
mod put;
mod repair;
mod rm;
mod stat;
mod status;
mod up;

use clap::Subcommand;

use crate::{daemon, failure::Failure, output::Voice};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the whole loop: store, damage, catch, heal, read back
    ///
    /// Starts a cluster of 16 nodes in 4 zones on this machine, with a certificate authority of its own, stores a file
    /// 8+4, and does three things at once behind its back to nodes that hold shards of one segment: flips 16 bytes on a
    /// disk, truncates the volume of a node that stays up, kills a third. Shows who is caught, by which lane, where,
    /// and what is repaired; audits everything again, reads the file back, and compares.
    Demo(demo::Demo),
    /// Keep a cluster running on this machine
    ///
    /// An auditor and storage nodes as child processes, mutual TLS between them, certificates made on the fly. Prints
    /// where everything is and what to type next. A process that dies is started again.
    Up(up::Up),
    /// Run a storage node (--config), or look at the cluster's nodes (ls, show)
    ///
    /// A node keeps shards in append-only volumes, answers challenges with proofs, and obeys grants of its auditor only.
    Node(node::Node),
    /// Run the auditor
    ///
    /// It keeps the catalog, challenges the nodes for as long as it runs, judges their answers, and repairs what they lost.
    Auditor(auditor::Auditor),
    /// Store files
    ///
    /// They are sealed with your key, coded, spread over the nodes, and durable when this says so.
    Put(put::Put),
    /// Read an object back
    ///
    /// Every byte is verified before it is written. What is damaged or slow is read around, and reported.
    Get(get::Get),
    /// List your objects
    Ls(ls::Ls),
    /// Show an object: where its shards are and how they stand
    Stat(stat::Stat),
    /// Delete objects
    ///
    /// They are gone from the catalog at once, and from the nodes soon after, also from those that are away now. Exits 1
    /// when one was not there or could not be deleted; the others are deleted all the same.
    Rm(rm::Rm),
    /// Audit nodes now, list and watch verdicts
    Audit(audit::Audit),
    /// Repairs, done and under way
    Repair(repair::Repair),
    /// Is everything all right?
    ///
    /// Exits 1 when it is not: a segment misses shards, or there is an alert.
    Status(status::Status),
    /// Make a cluster's certificate authority, and certificates
    Pki(pki::Pki),
    /// Make and show keys of owners and nodes
    Key(key::Key),
    /// Print completions for a shell
    ///
    /// For instance: holdfast completions bash > ~/.local/share/bash-completion/completions/holdfast
    Completions(completions::Completions),
}

impl Verb {
    /// How it answers, failures too.
    pub(crate) fn voice(&self) -> Voice {
        let json = match self {
            Self::Demo(it) => it.json,
            Self::Up(it) => it.json,
            Self::Put(it) => it.client.json,
            Self::Get(it) => return it.voice(),
            Self::Ls(it) => it.client.json,
            Self::Stat(it) => it.client.json,
            Self::Rm(it) => it.client.json,
            Self::Node(it) => it.wants_json(),
            Self::Audit(it) => it.wants_json(),
            Self::Repair(it) => it.wants_json(),
            Self::Status(it) => it.client.json,
            Self::Pki(it) => it.wants_json(),
            Self::Key(it) => it.wants_json(),
            Self::Auditor(_) | Self::Completions(_) => false,
        };
        if json { Voice::Json } else { Voice::Words }
    }

    /// Does it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match &self {
            // These log by themselves, as daemons do.
            Self::Node(_) | Self::Auditor(_) => {}
            _ => daemon::log_if_asked(),
        }
        match self {
            Self::Demo(it) => it.run(),
            Self::Up(it) => it.run(),
            Self::Node(it) => it.run(),
            Self::Auditor(it) => it.run(),
            Self::Put(it) => it.run(),
            Self::Get(it) => it.run(),
            Self::Ls(it) => it.run(),
            Self::Stat(it) => it.run(),
            Self::Rm(it) => it.run(),
            Self::Audit(it) => it.run(),
            Self::Repair(it) => it.run(),
            Self::Status(it) => it.run(),
            Self::Pki(it) => it.run(),
            Self::Key(it) => it.run(),
            Self::Completions(it) => it.run(),
        }
    }
}
