//! `holdfast pki`: a cluster's certificate authority and the certificates of its members.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use holdfast_transport::{ClusterCa, ClusterName, KeyRequest, PeerName, Subject, Validity};
use holdfast_types::{Millis, NodeId, OwnerId};
use serde_json::json;

use crate::{connect::wall, failure::Failure, output};

/// Make a cluster's certificate authority, and certificates.
#[derive(Debug, Args)]
#[command(after_help = "A cluster over several machines:\n  \
    holdfast pki init --cluster reef --dir ca                    once, on a machine that stays offline\n  \
    holdfast pki issue auditor main --ca ca --out auditor-tls --host auditor.example\n  \
    holdfast key node node.key                                   on each node; prints n-…\n  \
    holdfast pki issue node n-… --ca ca --out node-tls\n  \
    holdfast key new owner.key                                   for each owner; prints o-…\n  \
    holdfast pki issue client o-… --ca ca --out client-tls\n\n\
    To let a TLS key stay where it was made: `pki request` there, `pki issue … --request FILE` at the authority.")]
pub(crate) struct Pki {
    #[command(subcommand)]
    what: What,
    /// Answer with one JSON object on one line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an authority: ca.pem for everybody, ca-key.pem for nobody
    Init {
        /// The cluster's name: a-z, 0-9 and '-'
        #[arg(long)]
        cluster: ClusterName,
        /// Where to; an authority that is there is never overwritten
        #[arg(long)]
        dir: PathBuf,
    },
    /// Issue a certificate: ca.pem, cert.pem, key.pem
    Issue(Issue),
    /// Make a TLS key that stays here, and a request for its certificate
    Request {
        /// Where to: key.pem and request.pem
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Issue {
    #[command(subcommand)]
    whom: Whom,
    /// Directory of the authority
    #[arg(long, global = true, default_value = "ca")]
    ca: PathBuf,
    /// Where to put ca.pem, cert.pem and key.pem; older ones are replaced
    #[arg(long, global = true, default_value = "tls")]
    out: PathBuf,
    /// Host names and IP addresses for stock software; our own peers look at roles only
    #[arg(long = "host", global = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// Days that it holds
    #[arg(long, global = true, default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=7300))]
    days: u64,
    /// Certify the key of this request (`holdfast pki request`) instead of making one
    #[arg(long, global = true, value_name = "FILE")]
    request: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Whom {
    /// A storage node
    Node {
        /// Its id, n-…, as `holdfast key node` prints it
        id: NodeId,
    },
    /// An auditor
    Auditor {
        /// The name that nodes know it by: a-z, 0-9 and '-'
        name: PeerName,
    },
    /// A client of an owner
    Client {
        /// The owner, o-…, as `holdfast key` prints it
        owner: OwnerId,
    },
}

impl Pki {
    pub(crate) fn wants_json(&self) -> bool {
        self.json
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        let json = self.json;
        match self.what {
            What::Init { cluster, dir } => {
                ClusterCa::generate(cluster.clone(), wall())?.save(&dir)?;
                let (cert, key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
                if json {
                    return output::done(json!({ "cluster": cluster.as_str(), "ca": cert, "key": key }));
                }
                output::line(&format!("{}  to every member", cert.display()))?;
                output::line(&format!("{}  to nobody: whoever has it can join as anybody", key.display()))
            }
            What::Request { dir } => {
                KeyRequest::generate()?.save(&dir)?;
                let request = dir.join("request.pem");
                if json {
                    return output::done(json!({ "request": request, "key": dir.join("key.pem") }));
                }
                output::line(&request.display().to_string())
            }
            What::Issue(issue) => issue.run(json),
        }
    }
}

impl Issue {
    fn run(self, json: bool) -> Result<(), Failure> {
        let subject = match self.whom {
            Whom::Node { id } => Subject::Node(id),
            Whom::Auditor { name } => Subject::Auditor(name),
            Whom::Client { owner } => Subject::Client(owner),
        };
        let ca = ClusterCa::load(&self.ca)?;
        let validity = Validity::starting(wall(), Millis::from_secs(self.days * 86_400));
        match &self.request {
            None => ca.issue(&subject, &self.hosts, validity)?.save(&self.out)?,
            Some(path) => {
                let request = std::fs::read_to_string(path).map_err(|error| Failure::file(path, error))?;
                let certificate = ca.issue_for_request(&request, &subject, &self.hosts, validity)?;
                write(&self.out, "cert.pem", &certificate)?;
                write(&self.out, "ca.pem", ca.cert_pem())?;
            }
        }
        let uri = subject.uri(ca.cluster());
        if json {
            return output::done(json!({ "subject": uri, "dir": self.out, "until_unix_ms": validity.until.0 }));
        }
        output::line(&format!("{uri}  in {}", self.out.display()))
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text)).map_err(|error| Failure::file(&path, error))
}
