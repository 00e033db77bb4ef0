//! `holdfast key`: the secrets that owners and nodes are known by.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use holdfast_client::OwnerKeyFile;
use holdfast_node::identity;
use holdfast_types::OwnerId;
use serde_json::json;

use crate::{failure::Failure, output};

/// Make and show keys of owners and nodes.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    what: What,
    /// Answer with one JSON object on one line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an owner's key: whoever has it can read what it stored, nobody else can. Keep a copy
    #[command(alias = "create")]
    New {
        /// Where to; never overwritten
        file: PathBuf,
    },
    /// Print whose an owner's key is
    Show {
        /// The key
        file: PathBuf,
    },
    /// Make a node's identity key if it is not there, and print the node's id for its certificate
    Node {
        /// `identity_key` of the node's configuration
        file: PathBuf,
    },
}

impl Key {
    pub(crate) fn wants_json(&self) -> bool {
        self.json
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        let owner = |path: &Path, id: OwnerId| {
            if self.json {
                return output::done(json!({ "owner": id, "file": path }));
            }
            output::line(&id.to_string())
        };
        match &self.what {
            What::New { file } => owner(file, OwnerKeyFile::create(file)?.owner_id()),
            What::Show { file } => owner(file, OwnerKeyFile::load(file)?.owner_id()),
            What::Node { file } => {
                // Beside no volume: a key that is lost while its volume stands is noticed at the node's start.
                let nowhere = file.with_extension("no-volume");
                let id = identity::load_or_create(file, &nowhere)?.public().node_id();
                if self.json {
                    return output::done(json!({ "node": id, "file": file }));
                }
                output::line(&id.to_string())
            }
        }
    }
}
